"""Captions that are not UTF-8: real Chinese in GBK is recovered, and nothing else is made into Chinese."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kolors_course.dataset import check_dataset, fix_dataset, read_dataset
from kolors_course.dataset.encodings import NEVER, SURE, gbk_evidence, is_utf8
from kolors_course.errors import CourseError

CHINESE = (
    "一只猫",
    "一只狗",
    "二次元",
    "一个女孩",
    "长发女孩",
    "城市夜景",
    "海边的小船",
    "熊猫吃竹子",
    "一朵向日葵",
    "大大的蘑菇",
    "机甲战士",
    "古风美女",
    "夜晚雪地上的一只兔子",
    "蓝色眼睛的女孩站在樱花树下",
    "白天草地上的一只绵羊，在左边",
    "高清，最佳质量，一个女孩，白色连衣裙",
    "老人在公园里下棋",
    "a cat, 一只猫, 水墨画",
)
# Too short to be sure of alone; a folder of them is.
SHORT_CHINESE = ("红旗", "女孩", "水墨画", "像素风", "日落", "山水", "建筑", "苹果", "鹦鹉", "线稿")
OTHERS = {
    ("cp949", "johab"): (
        *(
            "고양이 한 마리",
            "강아지 한 마리",
            "고양이",
            "강아지",
            "토끼",
            "소녀",
            "긴 머리 소녀",
            "도시 야경",
            "바다",
        ),
        *(
            "밤 눈밭 위의 토끼",
            "파란 눈의 소녀가 벚꽃 나무 아래 서 있다",
            "수묵화",
            "사과",
            "바나나",
            "로봇",
            "빨간 자동차",
        ),
    ),
    ("euc_jp", "shift_jis"): (
        *(
            "猫一匹",
            "犬二匹夜景",
            "黒猫",
            "雪原の兎",
            "夜の雪原にいるうさぎ",
            "少女",
            "水墨画",
            "都市夜景",
            "東京駅",
        ),
        *("和服の女性", "高画質", "青空", "富士山", "木造建築", "最高品質、少女、銀髪、青目", "夕焼け"),
    ),
    ("cp1251", "koi8_r", "iso8859_5", "cp866", "mac_cyrillic"): (
        *(
            "собака",
            "собака собака",
            "кошка",
            "кот на снегу",
            "девушка",
            "НОЧЬ",
            "Москва",
            "красная машина",
            "яблоко",
        ),
        *("заяц на снегу ночью", "портрет девушки", "ЗИМНИЙ ЛЕС", "море", "тигр"),
    ),
    ("big5",): (
        "一隻貓",
        "一隻狗",
        "夜晚雪地上的一隻兔子",
        "女孩",
        "長髮女孩",
        "水墨畫",
        "城市夜景",
        "二次元",
        "月亮",
        "機甲戰士",
    ),
    ("cp874",): ("แมวหนึ่งตัว", "สุนัข", "กระต่ายบนหิมะ", "ผู้หญิง", "ทะเล", "บ้าน"),
    ("latin_1", "cp1252", "mac_roman"): (
        "un café à Genève",
        "ein Mädchen im Wald",
        "niño en la montaña",
        "été",
    ),
    ("cp1250",): ("kočka na sněhu", "zażółć gęślą jaźń", "dívka"),
    ("cp1253",): ("γάτα", "ένα κορίτσι", "θάλασσα"),
    ("cp1255",): ("חתול", "ילדה ביער"),
    ("cp1256",): ("قطة", "فتاة في الغابة", "بحر"),
    ("cp1254",): ("kırmızı araba", "güneş"),
    ("utf_16_le", "utf_16_be"): ("夜晚雪地上的一只兔子", "a cat", "海边的小船"),
}
CASES = [(text, encoding) for encodings, texts in OTHERS.items() for encoding in encodings for text in texts]


def bytes_of(text: str, encoding: str) -> bytes | None:
    try:
        data = text.encode(encoding)
    except UnicodeEncodeError:
        return None
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return data
    return None  # valid UTF-8 by chance: nobody can tell


@pytest.mark.parametrize("text", CHINESE)
def test_real_captions_in_gbk_are_sure_by_themselves(text):
    assert gbk_evidence(text.encode("gbk")) >= SURE


@pytest.mark.parametrize("text", SHORT_CHINESE)
def test_evidence_of_short_captions_in_gbk_points_the_right_way(text):
    assert gbk_evidence(text.encode("gbk")) > 0


@pytest.mark.parametrize(("text", "encoding"), CASES)
def test_no_other_encoding_is_taken_for_gbk(text, encoding):
    data = bytes_of(text, encoding)
    if data is not None:
        assert gbk_evidence(data) < 0.4 * SURE


def folder_of(path: Path, captions: dict[str, bytes]) -> Path:
    path.mkdir()
    for i, (name, data) in enumerate(captions.items()):
        pixels = np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path / f"{name}.png")
        (path / f"{name}.txt").write_bytes(data)
    return path


def kept(folder: Path, target: Path) -> list[str]:
    try:
        fix_dataset(folder, target)
    except CourseError as error:
        assert "not UTF-8" in str(error)  # noqa: PT017
        return []
    return [sample.text for sample in read_dataset(target).samples]


@pytest.mark.parametrize("texts", [SHORT_CHINESE, CHINESE, ("一只猫", "红旗")])
def test_a_folder_in_gbk_is_recovered_as_a_whole(tmp_path, texts):
    folder = folder_of(tmp_path / "set", {f"{i:02d}": text.encode("gbk") for i, text in enumerate(texts)})
    assert kept(folder, tmp_path / "new") == list(texts)


@pytest.mark.parametrize(
    ("encodings", "encoding"), [(encodings, encoding) for encodings in OTHERS for encoding in encodings]
)
def test_a_folder_in_another_encoding_is_left_out(tmp_path, encodings, encoding):
    captions = [data for text in OTHERS[encodings] if (data := bytes_of(text, encoding)) is not None]
    folder = folder_of(tmp_path / "set", {f"{i:02d}": data for i, data in enumerate(captions)})
    assert kept(folder, tmp_path / "new") == []


def test_a_mixed_folder_keeps_what_is_sure_and_says_why_not_the_rest(tmp_path):
    texts = {
        "a": ("夜晚雪地上的一只兔子", "gbk"),
        "b": ("고양이 한 마리", "cp949"),
        "c": ("猫一匹", "euc_jp"),
    }
    texts |= {"d": ("собака", "cp1251"), "e": ("a horse", "utf-8")}
    folder = folder_of(
        tmp_path / "set", {name: text.encode(encoding) for name, (text, encoding) in texts.items()}
    )
    repair = fix_dataset(folder, tmp_path / "new")
    assert [sample.text for sample in read_dataset(tmp_path / "new").samples] == [
        "夜晚雪地上的一只兔子",
        "a horse",
    ]
    left = [action for action in repair.actions if action.startswith("left out: ")]
    assert [action.split(": ")[1] for action in left] == [str(folder / f"{name}.txt") for name in "bcd"]
    assert all("is not UTF-8; save the file again as UTF-8" in action for action in left)


@pytest.mark.parametrize("text", ["一只猫", "学习", "图片", "什么"])
def test_gbk_that_is_valid_utf8_by_chance_is_not_read_as_such(tmp_path, text):
    data = text.encode("gbk")
    data.decode("utf-8")
    assert not is_utf8(data)
    folder = folder_of(tmp_path / "set", {"a": data})
    (problem,) = check_dataset(folder).problems
    assert f"in UTF-8, but '{text}' in GBK, so it is most likely not UTF-8" in problem


@pytest.mark.parametrize(
    "text",
    [
        *(
            "été à la plage",
            "éàù",
            "собака",
            "НОЧЬ",
            "дом",
            "γάτα",
            "חתול",
            "قطة",
            "żółć",
            "güneş",
            "phương",
            "dương",
        ),
        *("ñ", "è", "猫", "café 猫", "nǐ hǎo", "§ 5", "20 °C", "«ё»", "ș", "🐇", ""),
    ],
)
def test_real_utf8_is_read_as_such(text):
    assert is_utf8(text.encode())


def test_a_caption_of_one_letter_in_a_folder_of_gbk_is_gbk(tmp_path):
    """猫 alone is è in UTF-8; its neighbours tell."""
    texts = {"a": "猫", "b": "夜晚雪地上的一只兔子", "c": "一只狗"}
    folder = folder_of(tmp_path / "set", {name: text.encode("gbk") for name, text in texts.items()})
    assert kept(folder, tmp_path / "new") == list(texts.values())


def test_what_cannot_be_gbk_is_no_question_of_evidence():
    assert gbk_evidence("été".encode("latin-1")) < -SURE or gbk_evidence("été".encode("latin-1")) == NEVER
    assert gbk_evidence(b"\xff\xff") == NEVER
