"""What can be chosen by name here. Nothing heavy is imported, so that the command line can list it at once."""

# name -> (package, class); all but the first come in packages that the course does not need otherwise
OPTIMIZERS = {
    "adamw": ("torch.optim", "AdamW"),
    "adamw-8bit": ("bitsandbytes.optim", "AdamW8bit"),
    "prodigy": ("prodigyopt", "Prodigy"),
    "adamw-schedule-free": ("schedulefree", "AdamWScheduleFree"),
}
# The course of the learning rate after the warm-up.
SCHEDULES = ("cosine", "linear", "constant")
LOSSES = ("mse", "huber")
MIN_SNR_GAMMA = 5.0  # what the command takes where no weight of the loss is asked for
PRECISIONS = ("auto", "32", "bf16", "16-mixed")
# How a model is shared among GPUs, by the camp's names.
STRATEGIES = ("auto", "deepspeed_stage_1", "deepspeed_stage_2", "deepspeed_stage_3")
TRACKERS = ("tensorboard", "wandb", "swanlab")  # those of accelerate that the course offers
LOGGERS = ("csv", *TRACKERS)
