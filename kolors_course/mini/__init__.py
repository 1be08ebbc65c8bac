"""How Kolors-mini is made: pictures of its world; tokenizer, VAE, judge and base model that learn from them."""
