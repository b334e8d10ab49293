/** What models write → text, thoughts and tool calls; whole, and cut anywhere. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { random } from '../../codegen/oracle/random.ts';
import type { CallDelta } from '../../runtime/server/call-reader.ts';
import { Reply } from '../../runtime/server/reply.ts';
import { type ReasoningFormat, reasoningFormats, toolFormats } from '../../runtime/server/tool-formats.ts';
import type { Tools } from '../../runtime/server/tools.ts';

const think = reasoningFormats[0];
const toolsOf = (name: string, most = 9): Tools => {
  const format = toolFormats.find((each) => each.name === name)!;
  const list = ['get', 'a', 'b'].map((tool) => ({ type: 'function' as const, function: { name: tool } }));
  return { format, most, list, choice: 'auto' };
};

interface Whole {
  reasoning: string;
  content: string;
  calls: [name: string, args: string][];
}

/** Reads pieces; every call has one id and one name. */
function read(pieces: readonly string[], tools?: Tools, reasoning?: ReasoningFormat, opened = false): Whole {
  const reply = new Reply({ tools, reasoning, opened, free: true });
  const whole: Whole = { reasoning: '', content: '', calls: [] };
  const take = (part: { reasoning: string; content: string; calls: CallDelta[] }) => {
    whole.reasoning += part.reasoning;
    whole.content += part.content;
    for (const { index, id, function: called } of part.calls) {
      assert.is(id !== undefined, whole.calls[index] === undefined);
      whole.calls[index] ??= [called.name!, ''];
      whole.calls[index][1] += called.arguments ?? '';
    }
  };
  for (const piece of pieces) take(reply.push(piece));
  take(reply.end());
  return whole;
}

const A = '{"city": "Par}is\\"", "n": [1, {"x": 2}]}';
const cases: [format: string, text: string, content: string, calls: [string, string][]][] = [
  ['hermes', `Let me see.\n<tool_call>\n{"name": "get", "arguments": ${A}}\n</tool_call>`, 'Let me see.', [['get', A]]],
  [
    'hermes',
    `<tool_call>{"name": "a", "arguments": {}}</tool_call>\n<tool_call>{"arguments": ${A}, "name": "b"}</tool_call>`,
    '',
    [
      ['a', '{}'],
      ['b', A],
    ],
  ],
  ['hermes', '<tool_call>\n{"name": "now"}\n</tool_call>', '', [['now', '{}']]],
  // without their marks, as Qwen2.5-Coder has them
  ['hermes', `{"name": "get", "arguments": ${A}}`, '', [['get', A]]],
  ['hermes', `\n{\n  "name": "get",\n  "arguments": ${A}\n}\n\nThere.`, 'There.', [['get', A]]],
  [
    'hermes',
    `\`\`\`json\n{\n  "name": "a",\n  "arguments": ${A}\n}\n\`\`\`\n\n\`\`\`json\n{"name": "b", "arguments": {}}\n\`\`\`\n`,
    '',
    [
      ['a', A],
      ['b', '{}'],
    ],
  ],
  [
    'hermes',
    `<tools>\n{"name": "a", "arguments": {}}\n</tools>\n<tool_call>\n{"name": "b", "arguments": {}}\n</tool_call>`,
    '',
    [
      ['a', '{}'],
      ['b', '{}'],
    ],
  ],
  [
    'hermes',
    '```json\n{"name": "other", "arguments": {}}\n```',
    '```json\n{"name": "other", "arguments": {}}\n```',
    [],
  ],
  ['hermes', '{"name": "a", "age": 3}', '{"name": "a", "age": 3}', []],
  ['hermes', ' ```', ' ```', []],
  ['hermes', 'So: {"name": "a", "arguments": {}}', 'So: {"name": "a", "arguments": {}}', []],
  ['hermes', 'a < b, <tool> and no call', 'a < b, <tool> and no call', []],
  ['hermes', '<tool_call>\n{"name": "f", "arguments": "{\\"a\\": 1}"}\n</tool_call>', '', [['f', '{"a": 1}']]],
  ['llama3-json', `{"name": "get", "parameters": ${A}}`, '', [['get', A]]],
  [
    'llama3-json',
    `<|python_tag|>{"name": "a", "parameters": {}}; {"name": "b", "parameters": ${A}}`,
    '',
    [
      ['a', '{}'],
      ['b', A],
    ],
  ],
  ['llama3-json', 'The set {1, 2} is small.', 'The set {1, 2} is small.', []],
  [
    'mistral',
    `[TOOL_CALLS] [{"name": "a", "arguments": ${A}}, {"name": "b", "arguments": {}, "id": "x"}]`,
    '',
    [
      ['a', A],
      ['b', '{}'],
    ],
  ],
  [
    'mistral-args',
    `Well.[TOOL_CALLS]a[ARGS]${A}[TOOL_CALLS]b[ARGS]{}`,
    'Well.',
    [
      ['a', A],
      ['b', '{}'],
    ],
  ],
  ['granite', `<|tool_call|>[{"name": "a", "arguments": ${A}}]`, '', [['a', A]]],
];

for (const [format, text, content, calls] of cases)
  test(`${format}: ${text.slice(0, 50)}`, () => {
    const expected = { reasoning: '', content, calls };
    assert.equal(read([text], toolsOf(format)), expected, 'whole');
    assert.equal(read([...text], toolsOf(format)), expected, 'by character');
    const next = random(3);
    for (let round = 0; round < 20; round++) {
      const pieces: string[] = [];
      for (let at = 0; at < text.length; ) {
        const n = 1 + Math.floor(next() * 9);
        pieces.push(text.slice(at, at + n));
        at += n;
      }
      assert.equal(read(pieces, toolsOf(format)), expected);
    }
    assert.is(read([...text], toolsOf(format, 1)).calls.length, Math.min(1, calls.length), 'one at most');
  });

test('where the answer has a form, calls have their marks', () => {
  const text = '{"name": "a", "arguments": {}}';
  const reply = new Reply({ tools: toolsOf('hermes'), opened: false, free: false });
  assert.equal([reply.push(text).content + reply.end().content, reply.calls], [text, false]);
});

test('a call that was cut off keeps what came of it', () => {
  const { calls } = read(['<tool_call>{"name": "f", "arguments": {"a": "lo'], toolsOf('hermes'));
  assert.equal(calls, [['f', '{"a": "lo']]); // the answer's finish_reason says length
});

test('thoughts: with tags, begun by the prompt, absent, without an end', () => {
  for (const cut of [(text: string) => [text], (text: string) => [...text]]) {
    const as = (text: string, opened = false) => read(cut(text), undefined, think, opened);
    assert.equal(as('<think>\nA < B\n</think>\n\nYes.\n'), { reasoning: 'A < B', content: 'Yes.\n', calls: [] });
    assert.equal(as('hm\n</think>\n\nYes.', true), { reasoning: 'hm', content: 'Yes.', calls: [] });
    assert.equal(as('\nNo thoughts <think>'), { reasoning: '', content: '\nNo thoughts <think>', calls: [] });
    assert.equal(as('<think>for ever'), { reasoning: 'for ever', content: '', calls: [] });
    assert.equal(as('<think>\n\n</think>\n\n{"a": 1}'), { reasoning: '', content: '{"a": 1}', calls: [] });
    const both = read(
      cut('<think>I must call</think>\n<tool_call>{"name": "f", "arguments": {}}</tool_call>'),
      toolsOf('hermes'),
      think,
    );
    assert.equal(both, { reasoning: 'I must call', content: '', calls: [['f', '{}']] });
  }
});

test.run();
