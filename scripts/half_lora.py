"""Write a LoRA file again in half precision, as the committed ones are.

python scripts/half_lora.py outputs/ink/lora.safetensors data/loras/ink.safetensors
"""

import sys
from dataclasses import replace

from kolors_course.lora import read_lora, write_lora

if __name__ == "__main__":
    source, target = sys.argv[1:]
    lora = read_lora(source)
    halves = {name: tensor.half() for name, tensor in lora.state_dict.items()}
    print(f"wrote {write_lora(target, replace(lora, state_dict=halves))}")
