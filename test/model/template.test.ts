/** Chat templates as transformers renders them; what is expected here is what Jinja2 says, with transformers' settings. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { chatRequest } from '../../runtime/server/schemas.ts';
import { compileTemplate, timeText } from '../../runtime/model/template.ts';

const messages = [
  { role: 'user', content: 'hi' },
  { role: 'assistant', content: 'yo' },
  { role: 'user', content: 'go' },
];
const given = {
  messages,
  tools: null,
  documents: null,
  add_generation_prompt: true,
  bos_token: '<s>',
  eos_token: '</s>',
};

const cases: readonly (readonly [template: string, expected: string])[] = [
  // what a loop wrote before it was left stays; what comes after the loop follows
  ['{% for m in messages %}{{ m.content }}{% break %}{% endfor %}.', 'hi.'],
  ['{% for m in messages %}{{ m.content }}{% if loop.index == 2 %}!{% break %}{% endif %},{% endfor %}.', 'hi,yo!.'],
  [
    '{% for m in messages %}{{ loop.index }}{% if m.role == "assistant" %}-{% continue %}{% endif %}+{% endfor %}',
    '1+2-3+',
  ],
  [
    '{% for a in [1, 2] %}{% for b in [1, 2, 3] %}{{ a }}{{ b }} {% if b == 2 %}{% break %}{% endif %}{% endfor %};{% endfor %}',
    '11 12 ;21 22 ;',
  ],
  ['{% for a in [1, 2] %}{% break %}{% else %}none{% endfor %}', 'none'],
  ['{% for a in [1, 2] %}{{ a }}{% continue %}{% else %}none{% endfor %}', '12none'],
  ['{% for a in [1, 2] %}{% if a == 2 %}{% break %}{% endif %}{{ a }}{% else %}none{% endfor %}', '1'],
  ['{% for a in [] %}{{ a }}{% else %}none{% endfor %}', 'none'],
  [
    '{% macro m(x) %}{% for y in x %}{{ y }}{% break %}{% endfor %}{% endmacro %}{% for z in [[1, 2], [3]] %}<{{ m(z) }}>{% endfor %}',
    '<1><3>',
  ],
  // numbers are keys, and other keys than their digits
  ["{{ {0: 'a', 1: 'b'}[1] }}", 'b'],
  ["{% set n = {1: 'one', '1': 'text'} %}{{ n[1] }} {{ n['1'] }} {{ n[2] is defined }}", 'one text False'],
  ["{{ messages[0]['role'] }}{{ messages[-1].content }}{{ messages[1:]|length }}", 'usergo2'],
  // what a request does not have is none, and defined
  ['{% if tools is not none %}TOOLS{% else %}none{% endif %}', 'none'],
  ['{{ tools is defined }} {{ documents is none }} {{ thinking is defined }}', 'True True False'],
  [
    '{{ none }}{{ true }}{{ 1 == 2 }}{{ nowhere }}{% set x = 1 %}{% macro f() %}y{% endmacro %}{{ f() }}{# c #}',
    'NoneTrueFalsey',
  ],
  // JSON as Python's
  ['{{ messages[:1] | tojson(indent=2) }}', '[\n  {\n    "role": "user",\n    "content": "hi"\n  }\n]'],
  ['{{ {"a": [1, 2.5, none, true], "é": "ü"} | tojson }}', '{"a": [1, 2.5, null, true], "é": "ü"}'],
  ['{{ range(3) | list | tojson }}{{ range(2, 8, 3) | list | tojson }}', '[0, 1, 2][2, 5]'],
  ["{% generation %}x{% endgeneration %}{{ 'a' ~ 1 }}", 'xa1'],
];

for (const [template, expected] of cases)
  test(template, () => {
    assert.is(compileTemplate(template)(given), expected);
    assert.is(compileTemplate(template)(given), expected, 'twice');
  });

test('variables of the request, and what a template raises', () => {
  const template = compileTemplate(
    '{% if enable_thinking is defined and enable_thinking is false %}NOTHINK{% else %}THINK{% endif %}',
  );
  assert.is(template({ ...given, enable_thinking: false }), 'NOTHINK');
  assert.is(template({ ...given, enable_thinking: true }), 'THINK');
  assert.throws(() => compileTemplate("{{ raise_exception('roles must alternate') }}")(given), /roles must alternate/);
  assert.throws(() => compileTemplate('{% break %}')(given), /outside of a loop/);
});

test('chat_template_kwargs: any variable but those that the server fills in', () => {
  const read = (chat_template_kwargs: unknown) => chatRequest.safeParse({ messages, chat_template_kwargs });
  assert.equal(read({ enable_thinking: false }).data?.chat_template_kwargs, { enable_thinking: false });
  assert.ok(read(null).success);
  for (const name of ['messages', 'tools', 'eos_token'])
    assert.match(read({ [name]: [] }).error?.issues[0].message ?? '', /cannot set messages, tools/, name);
});

test('the time is Python’s, in English whatever the machine speaks', () => {
  const now = new Date(2024, 6, 5, 15, 4, 9);
  assert.is(
    timeText('%d %b %Y, %B %A %a %H:%M:%S %I%p %y-%m 100%%', now),
    '05 Jul 2024, July Friday Fri 15:04:09 03PM 24-07 100%',
  );
  assert.throws(() => timeText('%Q', now), /strftime_now has no %Q/);
});

test.run();
