/** How models write tool calls, as data: a row for each way, found by what the chat template says or named by a flag. */
import type { LoadedModel } from '../model/types.ts';

export interface ToolFormat {
  readonly name: string;
  /** texts that a template which speaks it has, all of them */
  readonly signs: readonly string[];
  /** stands before all calls; the answer is text until it, or `begin`, comes. Neither: an answer that begins with { is calls */
  readonly open?: string;
  /** around each call */
  readonly begin?: string;
  readonly end?: string;
  /** between two calls */
  readonly separator: string;
  /** after all of them */
  readonly close?: string;
  /** what stands between name and arguments where a call is not one JSON object */
  readonly middle?: string;
  /** a call's key for its arguments */
  readonly argumentsKey: 'arguments' | 'parameters';
  /** what some of its models put around a call instead of the marks; '' for nothing */
  readonly instead?: readonly (readonly [begin: string, end: string])[];
}

/** The first whose signs a template has is its format. */
export const toolFormats: readonly ToolFormat[] = [
  {
    name: 'mistral-args',
    signs: ['[TOOL_CALLS]', '[ARGS]'],
    begin: '[TOOL_CALLS]',
    middle: '[ARGS]',
    separator: '',
    argumentsKey: 'arguments',
  },
  {
    name: 'mistral',
    signs: ['[TOOL_CALLS]'],
    open: '[TOOL_CALLS] [',
    separator: ', ',
    close: ']',
    argumentsKey: 'arguments',
  },
  {
    name: 'granite',
    signs: ['<|tool_call|>'],
    open: '<|tool_call|>[',
    separator: ', ',
    close: ']',
    argumentsKey: 'arguments',
  },
  {
    name: 'hermes',
    signs: ['<tool_call>', '"arguments"'],
    begin: '<tool_call>\n',
    end: '\n</tool_call>',
    separator: '\n',
    argumentsKey: 'arguments',
    instead: [
      ['', ''],
      ['```json', '```'],
      ['```', '```'],
      ['<tools>', '</tools>'],
    ],
  },
  { name: 'llama3-json', signs: ['"parameters"', 'ipython'], separator: '; ', argumentsKey: 'parameters' },
];

/** Where models think before they answer. */
export interface ReasoningFormat {
  readonly name: string;
  readonly begin: string;
  readonly end: string;
}

export const reasoningFormats: readonly ReasoningFormat[] = [
  { name: 'think', begin: '<think>', end: '</think>' },
  { name: 'mistral-think', begin: '[THINK]', end: '[/THINK]' },
];

/** What a flag may say beside a format's name: as the template has it, or not at all. */
export type Chosen = string | undefined;

export function toolFormatOf({ chatTemplate = '' }: LoadedModel, chosen: Chosen): ToolFormat | undefined {
  if (chosen === 'none') return undefined;
  if (chosen && chosen !== 'auto') return toolFormats.find(({ name }) => name === chosen);
  return toolFormats.find(({ signs }) => signs.every((sign) => chatTemplate.includes(sign)));
}

export function reasoningFormatOf({ chatTemplate = '' }: LoadedModel, chosen: Chosen): ReasoningFormat | undefined {
  if (chosen === 'none') return undefined;
  if (chosen && chosen !== 'auto') return reasoningFormats.find(({ name }) => name === chosen);
  return reasoningFormats.find(({ end }) => chatTemplate.includes(end));
}

/** Texts without blanks around them, of those that there are. */
const trimmed = (texts: readonly (string | undefined)[]): string[] =>
  texts.map((text) => text?.trim() ?? '').filter((text) => text !== '');

/** What stands before all calls, without the bracket that begins their list. */
const openingOf = ({ open }: ToolFormat): string | undefined => open?.replace(/ ?\[$/, '');

/** What a first call begins with; none where nothing but the call itself tells. */
export const firstMarks = (format: ToolFormat): string[] => trimmed([openingOf(format), format.begin]);

/** What may stand around calls and between them. */
export const partsAround = (format: ToolFormat): string[] => [
  ...trimmed([openingOf(format), format.begin, format.end, format.close]),
  ...(format.open ? ['['] : []),
  ',',
  ';',
];

/** The texts of a format that a model may have as tokens of their own. */
export const markersOf = (format: ToolFormat | ReasoningFormat): string[] =>
  'signs' in format
    ? trimmed([openingOf(format), format.begin, format.end, format.middle])
    : trimmed([format.begin, format.end]);

/** Every format's. */
export const allMarkers: readonly string[] = [...new Set([...toolFormats, ...reasoningFormats].flatMap(markersOf))];
