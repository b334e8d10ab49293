/** Budgets that fall from layer to layer, as PyramidKV and Scissorhands give them. */

export interface Progression {
  budget: number;
  window: number;
  beta: number;
  layers: number;
}

/** An arithmetic progression over layers, whose last term is the mean over beta; no term is more than there is. */
export function capacityOf({ budget, window, beta, layers }: Progression, length: number, layer: number): number {
  const [capacity, most] = [budget - window, length - window];
  if (capacity >= most) return most;
  const last = Math.floor(capacity / beta);
  const ends = [2 * capacity - last, last];
  const [first, end] =
    ends[0] > most ? [most, 2 * capacity - most] : ends[1] > most ? [2 * capacity - most, most] : ends;
  return first - layer * Math.trunc((first - end) / (layers - 1));
}
