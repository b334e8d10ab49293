/** What a chat's answer may be, and how it is read: tools, structure and thinking put together. */
import { Rules, literal } from '../grammar/index.ts';
import type { LoadedModel } from '../model/types.ts';
import type { Service } from './active-request.ts';
import { ApiError } from './errors.ts';
import { conversationText } from './prompt.ts';
import type { Reading } from './reply.ts';
import type { ChatRequest, ConversationRequest } from './schemas.ts';
import { type Form, structureOf } from './structured.ts';
import { type ReasoningFormat, markersOf, reasoningFormatOf, toolFormatOf } from './tool-formats.ts';
import { type Tools, callGrammar, toolsOf } from './tools.ts';
import { markerTokens } from './vocabulary.ts';

export interface ChatForm {
  readonly form: Form | undefined;
  readonly reading: Reading;
  /** marks of calls and thoughts are special tokens of this model: they must be seen */
  readonly special: boolean;
}

/** Thinking may stand before what is asked for; a prompt may have begun it. */
function afterThinking(rules: Rules, body: string, format: ReasoningFormat, opened: boolean): string {
  const thoughts = `${rules.textWithout(format.end)} ${literal(format.end)} [ \\n]{0,4}`;
  return opened ? `${thoughts} ${body}` : `([ \\n]{0,4} ${literal(format.begin)} ${thoughts})? ${body}`;
}

/** Whether the prompt ends inside of the model's thoughts. */
const isOpened = (prompt: string, format: ReasoningFormat | undefined): boolean =>
  format !== undefined &&
  prompt.lastIndexOf(format.begin) > prompt.lastIndexOf(format.end) &&
  prompt.trimEnd().endsWith(format.begin);

/** The text of a chat's prompt, and the tools that it shows. */
export function chatPrompt(
  service: Pick<Service, 'engine' | 'toolFormat'>,
  body: ConversationRequest,
): { text: string; tools: Tools | undefined } {
  const { model } = service.engine;
  const tools = toolsOf(body, model, toolFormatOf(model, service.toolFormat));
  return { tools, text: conversationText(model, { ...body, shown: tools?.list, variables: effortOf(body, model) }) };
}

export function chatForm(service: Service, body: ChatRequest, prompt: string, tools: Tools | undefined): ChatForm {
  const { model } = service.engine;
  const format = reasoningFormatOf(model, service.reasoningFormat);
  const reasoning = format && prompt.trimEnd().endsWith(format.end) ? undefined : format; // the prompt has ended it
  const opened = isOpened(prompt, reasoning);
  const marks = [...(tools ? markersOf(tools.format) : []), ...(reasoning ? markersOf(reasoning) : [])];
  const own = markerTokens(model).filter(({ text }) => marks.includes(text));
  const hidden = markerTokens(model)
    .filter(({ text }) => !marks.includes(text))
    .map(({ token }) => token);
  const form = formOf(body, tools, reasoning, opened);
  const free = (form?.param ?? 'tools') === 'tools' && tools?.choice === 'auto';
  const reading = { reasoning, opened, tools, free };
  return { form: form && { ...form, hidden }, reading, special: own.length > 0 };
}

function formOf(
  body: ChatRequest,
  tools: Tools | undefined,
  reasoning: ReasoningFormat | undefined,
  opened: boolean,
): Form | undefined {
  const rules = new Rules();
  const structure = structureOf(rules, body);
  // response_format is of what is said; a call that must come says nothing
  if (structure && tools && tools.choice !== 'auto' && !structure.param.startsWith('response_format'))
    throw new ApiError(
      400,
      `${structure.param} and tool_choice both say what the answer is: send one.`,
      structure.param,
    );
  if (structure && typeof structure.body !== 'string') {
    if (tools) throw new ApiError(400, `${structure.param} cannot stand beside tools.`, structure.param);
    return { grammar: structure.body, param: structure.param };
  }
  const said = structure?.body as string | undefined;
  const answer = tools ? callGrammar(rules, tools, said) : said;
  if (answer === undefined) return undefined;
  const whole = reasoning ? afterThinking(rules, `(${answer})`, reasoning, opened) : answer;
  return { grammar: { text: rules.text(whole) }, param: structure?.param ?? 'tools' };
}

/** Template variables that reasoning_effort stands for. Throws a 400 where the model has nothing like it. */
function effortOf(body: ConversationRequest, { chatTemplate = '', name }: LoadedModel): Record<string, unknown> {
  const { reasoning_effort: effort } = body;
  if (effort === undefined || effort === null) return {};
  if (chatTemplate.includes('reasoning_effort')) return { reasoning_effort: effort };
  if (chatTemplate.includes('enable_thinking')) return { enable_thinking: effort !== 'none' && effort !== 'minimal' };
  if (effort === 'none') return {}; // it never does
  throw new ApiError(
    400,
    `${name} does not think more or less: its chat template knows no reasoning_effort.`,
    'reasoning_effort',
    'unsupported_parameter',
  );
}
