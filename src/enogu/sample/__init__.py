"""Drawing pictures from prompts as A1111 would: `draw(model, requests) -> pictures`, and grids of them."""
