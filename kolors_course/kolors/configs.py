"""The configurations of full Kolors' networks and of its scheduler, by heart: some downloads hold the weights alone.

That of Kolors-mini's U-Net too: a LoRA file can be compared with it where the course's data is not.
"""

# unet/config.json of Kwai-Kolors/Kolors, as far as it differs from the defaults of diffusers.
KOLORS_UNET = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "layers_per_block": 2,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": [1, 2, 10],
    "attention_head_dim": [5, 10, 20],
    "cross_attention_dim": 2048,
    "encoder_hid_dim": 4096,
    "encoder_hid_dim_type": "text_proj",
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 5632,
    "use_linear_projection": True,
}

# data/kolors-mini/unet/config.json, likewise.
KOLORS_MINI_UNET = {
    **KOLORS_UNET,
    "sample_size": 16,
    "block_out_channels": (96, 128, 192),
    "transformer_layers_per_block": [1, 1, 2],
    "attention_head_dim": [3, 4, 6],
    "cross_attention_dim": 192,
    "encoder_hid_dim": 192,
    "addition_time_embed_dim": 32,
    "projection_class_embeddings_input_dim": 384,
}

# vae/config.json, likewise.
KOLORS_VAE = {
    "sample_size": 1024,
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
    "scaling_factor": 0.13025,
}
# text_encoder/config.json: ChatGLM3-6B.
KOLORS_TEXT_ENCODER = {
    "num_layers": 28,
    "padded_vocab_size": 65024,
    "hidden_size": 4096,
    "ffn_hidden_size": 13696,
    "kv_channels": 128,
    "num_attention_heads": 32,
    "multi_query_attention": True,
    "multi_query_group_num": 2,
    "seq_length": 32768,
    "add_qkv_bias": True,
    "add_bias_linear": False,
    "rmsnorm": True,
    "original_rope": True,
    "post_layer_norm": True,
}
# scheduler/scheduler_config.json: SDXL's noise schedule continued to 1100 steps.
KOLORS_SCHEDULER = {
    "num_train_timesteps": 1100,
    "beta_start": 0.00085,
    "beta_end": 0.014,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
    "timestep_spacing": "leading",
    "steps_offset": 1,
    "interpolation_type": "linear",
}
