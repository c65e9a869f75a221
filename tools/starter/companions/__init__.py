"""Small files that go with the starter: a preview decoder, an upscaler, a LoRA, an embedding."""
