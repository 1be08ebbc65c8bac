import argparse


def run_report(arguments: argparse.Namespace) -> int:
    raise NotImplementedError
