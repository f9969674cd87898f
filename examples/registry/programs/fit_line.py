"""Fits a line to points and draws it: the program behind the operation statistics.fit_line."""

import json
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

parameters = json.loads(Path(os.environ["ERGON_PARAMETERS"]).read_text())
x = np.array([point[0] for point in parameters["points"]], dtype=float)
y = np.array([point[1] for point in parameters["points"]], dtype=float)

slope, intercept = np.polyfit(x, y, 1)
residuals = y - (slope * x + intercept)
print(f"{len(x)} points, slope {slope:.6g}, intercept {intercept:.6g}")

figure, axes = plt.subplots(figsize=(5, 3.2))
axes.plot(x, y, "o", x, slope * x + intercept, "-")
axes.set_title(parameters.get("title", "Least squares"))
figure.savefig(Path(os.environ["ERGON_OUTPUT_DIR"]) / "fit.svg")

Path(os.environ["ERGON_RESULT"]).write_text(
    json.dumps({"slope": slope, "intercept": intercept, "rms": float(np.sqrt(np.mean(residuals**2)))})
)
