"""FireAct: turn an expensive prompted language agent into a small fine-tuned one, and prove that it worked."""

__version__ = "0.1.0"
