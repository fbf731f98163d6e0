"""The recipe room: `read(path) -> recipe`, `plan(recipe) -> graph`, `run(graph)`."""
