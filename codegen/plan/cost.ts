/** The cost formulas of a plan's passes, as numbers. */

/** A sum of products over d (head size), g (query group), b (bytes of an element) and s (states), such as `2*d*b + 4*g`. */
export function cost(formula: string, values: { d: number; g: number; b: number; s: number }): number {
  const factor = (text: string) => values[text.trim() as 'd'] ?? Number(text);
  return formula
    .split('+')
    .reduce((sum, term) => sum + term.split('*').reduce((product, text) => product * factor(text), 1), 0);
}
