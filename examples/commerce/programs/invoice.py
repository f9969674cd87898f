"""Draws an invoice: the program behind the operation invoices.draw. What a customer calls themselves is text, nothing more."""

import json
import os
from pathlib import Path

import matplotlib.pyplot as plt

parameters = json.loads(Path(os.environ["ERGON_PARAMETERS"]).read_text())
number = f"INV-{parameters['order'][:8].upper()}"

figure = plt.figure(figsize=(8.27, 11.69))
lines = [
    (0.90, 24, f"Invoice {number}"),
    (0.84, 12, f"for {parameters['customer']}"),
    (0.78, 12, f"{parameters['quantity']} × {parameters['product']}"),
    (0.74, 14, f"{parameters['total']:.2f} EUR, paid by charge {parameters['charge']}"),
]
for height, size, text in lines:
    # A dollar sign in a name would begin a formula.
    figure.text(0.1, height, text, fontsize=size, parse_math=False)
figure.savefig(Path(os.environ["ERGON_OUTPUT_DIR"]) / "invoice.pdf", metadata={"CreationDate": None})

Path(os.environ["ERGON_RESULT"]).write_text(json.dumps({"number": number}))
