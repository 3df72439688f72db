"""What the peers' trainings can repeat of a record's configuration."""

# The paper's constants, which the authors' nodes have.
THRESHOLD, DECAY, ALPHA = 0.5, 0.9, 0.2


def unlike(config: dict) -> list[str]:
    """What of a run's configuration a training by PyTorch would leave out or do in another way; empty where nothing is."""
    neuron = {"threshold": THRESHOLD, "decay": DECAY, "alpha": ALPHA, "surrogate_half_width": 0.5, "reset": "attached"}
    of_events = f"number:{config['time_steps']}" if config["variant"] == "events" else None
    wanted = {
        "ann": (config.get("ann", False), False),
        **{f"neuron.{key}": (config["neuron"][key], value) for key, value in neuron.items()},
        "framing": (config["framing"], of_events),
        "ann_warm_up_epochs": (config["ann_warm_up_epochs"], 0),
        "augmentation": (config["augmentation"], "none"),
        "validation": (config.get("validation"), None),
    }
    return [f"{key} is {given}, not {value}" for key, (given, value) in wanted.items() if given != value]
