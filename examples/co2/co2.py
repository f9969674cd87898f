"""Trend and season of atmospheric CO2 at Mauna Loa, fitted by linear least squares.

Reads the dataset "co2.csv" (columns Date, CO2 in ppm, monthly means), fits a quadratic trend with four harmonics of the
year, and leaves numbers in result.json and one figure as PNG and SVG.
"""

import json
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy import stats

HARMONICS = 4

parameters = json.loads(Path(os.environ["ERGON_PARAMETERS"]).read_text())
horizon_years = float(parameters.get("horizon_years", 10))

series = pd.read_csv(Path(os.environ["ERGON_INPUT_DIR"]) / "co2.csv", parse_dates=["Date"]).dropna()
day_of_year = series["Date"].dt.dayofyear
years = (series["Date"].dt.year + (day_of_year - 1) / 365.25).to_numpy()
ppm = series["CO2"].to_numpy()
print(f"{len(ppm)} monthly means, {series['Date'].min():%Y-%m} to {series['Date'].max():%Y-%m}")

origin = years.mean()


def trend_columns(t):
    x = t - origin
    return np.column_stack([np.ones_like(x), x, x**2])


def season_columns(t):
    angles = [2 * np.pi * k * t for k in range(1, HARMONICS + 1)]
    return np.column_stack([f(angle) for angle in angles for f in (np.cos, np.sin)])


design = np.hstack([trend_columns(years), season_columns(years)])
coefficients, *_ = np.linalg.lstsq(design, ppm, rcond=None)
trend = trend_columns(years) @ coefficients[:3]
season = season_columns(years) @ coefficients[3:]
residual = ppm - trend - season

degrees_of_freedom = len(ppm) - design.shape[1]
sigma = np.sqrt(residual @ residual / degrees_of_freedom)
covariance = sigma**2 * np.linalg.inv(design.T @ design)
now = years.max()
slope_vector = np.zeros(design.shape[1])
slope_vector[1:3] = 1, 2 * (now - origin)
growth = slope_vector @ coefficients
growth_error = stats.t.ppf(0.975, degrees_of_freedom) * np.sqrt(slope_vector @ covariance @ slope_vector)

year_grid = np.linspace(0, 1, 1000, endpoint=False)
season_grid = season_columns(year_grid) @ coefficients[3:]
ahead = trend_columns(np.array([now + horizon_years])) @ coefficients[:3]

result = {
    "months": len(ppm),
    "first": f"{series['Date'].min():%Y-%m}",
    "last": f"{series['Date'].max():%Y-%m}",
    "trend_ppm_at_end": round(float(trend[-1]), 2),
    "growth_ppm_per_year": round(float(growth), 3),
    "growth_95_percent": round(float(growth_error), 3),
    "acceleration_ppm_per_year2": round(float(2 * coefficients[2]), 4),
    "season_peak_to_peak_ppm": round(float(np.ptp(season_grid)), 2),
    "season_peak_day": int(year_grid[season_grid.argmax()] * 365.25) + 1,
    "residual_sigma_ppm": round(float(sigma), 3),
    "horizon_years": horizon_years,
    "trend_ppm_at_horizon": round(float(ahead[0]), 1),
}
Path(os.environ["ERGON_RESULT"]).write_text(json.dumps(result, indent=2))
print(f"growth at the end: {result['growth_ppm_per_year']} ± {result['growth_95_percent']} ppm a year")

figure, (above, left) = plt.subplots(2, 1, figsize=(8, 6.4), height_ratios=(2, 1), layout="constrained")
above.plot(series["Date"], ppm, ".", color="0.65", markersize=3, label="monthly mean")
above.plot(series["Date"], trend, color="tab:red", linewidth=1.6, label="trend")
above.plot(series["Date"], trend + season, color="tab:blue", linewidth=0.7, label="trend + season")
above.set(ylabel="CO$_2$ (ppm)", title="Atmospheric CO$_2$ at Mauna Loa")
above.legend(frameon=False, loc="upper left")
above.grid(alpha=0.25)
left.plot(12 * year_grid + 1, season_grid, color="tab:blue")
left.set(xlabel="month", ylabel="season (ppm)", xlim=(1, 13), xticks=range(1, 13))
left.axhline(0, color="0.6", linewidth=0.8)
left.grid(alpha=0.25)
output = Path(os.environ["ERGON_OUTPUT_DIR"])
figure.savefig(output / "co2.png", dpi=120, metadata={"Software": None})
figure.savefig(output / "co2.svg", metadata={"Date": None})
