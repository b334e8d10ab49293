/** SVG plots through Vega-Lite, without a browser. */
import type { TopLevelSpec } from 'vega-lite';
import { wants } from '../toolchain/errors.ts';

export interface Plot {
  /** part of its file name */
  name: string;
  title: string;
  kind: 'line' | 'bar';
  x: string;
  y: string;
  /** numbers on a logarithmic axis */
  logX?: boolean;
  logY?: boolean;
  /** one point; `low` and `high` are drawn as its range where they are given */
  values: { series: string; x: number | string; y: number; low?: number; high?: number }[];
}

function specOf(plot: Plot): TopLevelSpec {
  const line = plot.kind === 'line';
  const x = {
    field: 'x',
    title: plot.x,
    ...(line
      ? { type: 'quantitative' as const, scale: plot.logX ? { type: 'log' as const } : { zero: false } }
      : { type: 'nominal' as const, sort: null, axis: { labelAngle: 0 } }),
  };
  const y = {
    field: 'y',
    title: plot.y,
    type: 'quantitative' as const,
    scale: { type: plot.logY ? ('log' as const) : ('linear' as const) },
  };
  const color = {
    field: 'series',
    type: 'nominal' as const,
    title: null,
    sort: null,
    scale: { scheme: 'tableau10' as const },
  };
  const offset = line ? {} : { xOffset: { field: 'series', sort: null } };
  const ranges = plot.values.some(({ low }) => low !== undefined);
  return {
    $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
    title: plot.title,
    width: 560,
    height: 300,
    background: 'white',
    data: { values: plot.values },
    layer: [
      { mark: line ? { type: 'line', point: true } : { type: 'bar' }, encoding: { x, y, color, ...offset } },
      ...(ranges
        ? [
            {
              mark: { type: 'rule' as const, opacity: 0.5 },
              encoding: { x, y: { ...y, field: 'low' }, y2: { field: 'high' }, ...offset, ...(line ? { color } : {}) },
            },
          ]
        : []),
    ],
  } as TopLevelSpec;
}

export async function toSvg(plot: Plot): Promise<string> {
  const [vega, { compile }] = await Promise.all([import('vega'), import('vega-lite')]).catch((error) => {
    throw wants(['vega', 'vega-lite'], 'Drawing a plot', error);
  });
  const view = new vega.View(vega.parse(compile(specOf(plot)).spec), { renderer: 'none', logLevel: vega.Error });
  try {
    return await view.toSVG();
  } finally {
    view.finalize();
  }
}
