/**
 * How text is cut into words before tokens merge, by `tokenizer.ggml.pre`: one row a tokenizer, as llama.cpp knows them.
 *
 * A row's patterns work one after the other, each on the pieces that those before it left; what a pattern does not match
 * stays as a piece of its own. They are written for JavaScript's v flag; cut.ts gives \s llama.cpp's meaning.
 */

export interface Cut {
  /** the values of tokenizer.ggml.pre that mean this row */
  readonly names: readonly string[];
  readonly patterns: readonly string[];
  /** a word that is a token as a whole is that token, whatever merges say */
  readonly wholeWords?: true;
  /** a text begins with BOS unless the file says otherwise */
  readonly addBos?: true;
  /** as in SentencePiece, ▁ stands for a space, characters for themselves, and <0x0A> for a byte that no token has */
  readonly marked?: true;
  /** lines of nothing are one token, if the vocabulary has it */
  readonly emptyLines?: true;
}

const contraction = "'(?:[sS]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD])";
const spaces = '\\s+(?!\\S)|\\s+';
const lines = '\\s*[\\r\\n]+';
const word = '[^\\r\\n\\p{L}\\p{N}]?\\p{L}+';
const signs = ' ?[^\\s\\p{L}\\p{N}]+';
const punctuation = '[!-\\/:-@\\[-`\\{-~]';

const gpt2 = `'(?:s|t|re|ve|m|ll|d)| ?\\p{L}+| ?\\p{N}+|${signs}|\\s+(?!\\S)`;
const llama3 = `${contraction}|${word}|\\p{N}{1,3}|${signs}[\\r\\n]*|${lines}|${spaces}`;
const qwen2 = `${contraction}|${word}|\\p{N}|${signs}[\\r\\n]*|${lines}|${spaces}`;

/** Words by case: capitals then small letters; of ASCII alone, a letter of another script counts as both. */
const byCase = (letter: string, end: string): string => {
  const [capital, small] = [`[${letter}--[a-z]]`, `[${letter}--[A-Z]]`];
  const before = '[^\\r\\n\\p{L}\\p{N}]?';
  return `${before}${capital}*${small}+${end}|${before}${capital}+${small}*${end}`;
};
const gpt4o = (letter: string): string =>
  `${byCase(letter, `(?:${contraction})?`)}|\\p{N}{1,3}|${signs}[\\r\\n\\/]*|${lines}|${spaces}`;

/** Words of letters and marks of either case, with the contraction after them. */
const anyCase = (digits: string): string =>
  `[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+(?:${contraction})?|${digits}|${signs}[\\r\\n\\/]*|${lines}|${spaces}`;

/** Of DeepSeek's words: a sign with ASCII letters, letters with what is before them, signs. */
const deepseekWords = `${punctuation}[A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+`;
const deepseek3 = `${deepseekWords}[\\r\\n]*|${lines}|${spaces}`;
const kana = '[\\u4e00-\\u9fa5\\u3040-\\u309f\\u30a0-\\u30ff]+';
const cjk = '[[\\u4e00-\\u9fa5\\u0800-\\u4e00\\uac00-\\ud7ff]--\\s]+';
const sentence = ' ?[^\\(\\s\\|.,!?\\u2026\\u3002\\uff0c\\u3001\\u0964\\u06d4\\u060c\\)]+';
const physicalLines = '[^\\n]+|[\\n]+';
const han =
  '[\\u3400-\\u4dbf\\u4e00-\\u9fff\\uf900-\\ufaff\\u{20000}-\\u{2a6df}\\u{2a700}-\\u{2ebef}\\u{2f800}-\\u{2fa1f}]';
/** Threes of digits from the right, the first of a number with the text before it. */
const threes = '\\P{N}*\\p{N}{1,3}(?=(?:\\p{N}{3})*(?!\\p{N}))';
const asianScripts =
  '[\\u4e00-\\u9fff\\u3400-\\u4dbf\\u8c48-\\ufaff\\u3040-\\u30ff\\uff65-\\uff9f\\u2f00-\\u2fdf\\u0e40-\\u0eff\\u1780-\\u17ff\\u1000-\\u109f\\uaa60-\\uaa7f\\ua9e0-\\ua9ff\\uac00-\\ud7af\\u1100-\\u11ff]+';
/** Letters that have cases, as DeepSeek LLM lists them. */
const cased =
  'A-Za-z' +
  '\\u00b5\\u00c0-\\u00d6\\u00d8-\\u00f6\\u00f8-\\u01ba\\u01bc-\\u01bf\\u01c4-\\u0293\\u0295-\\u02af' +
  '\\u0370-\\u0373\\u0376\\u0377\\u037b-\\u037d\\u037f\\u0386\\u0388-\\u038a\\u038c\\u038e-\\u03a1' +
  '\\u03a3-\\u03f5\\u03f7-\\u0481\\u048a-\\u052f\\u0531-\\u0556\\u10a0-\\u10c5\\u13a0-\\u13f5' +
  '\\u13f8-\\u13fd\\u1c90-\\u1cba\\u1cbd-\\u1cbf\\u1d00-\\u1d2b\\u1d6b-\\u1d77\\u1d79-\\u1d9a' +
  '\\u1e00-\\u1f15\\u1f18-\\u1f1d\\u1f20-\\u1f45\\u1f48-\\u1f4d\\u1f50-\\u1f57\\u1f59\\u1f5b\\u1f5d' +
  '\\u1f5f-\\u1f7d\\u1f80-\\u1fb4\\u1fb6-\\u1fbc\\u1fbe\\u1fc2-\\u1fc4\\u1fc6-\\u1fcc\\u1fd0-\\u1fd3' +
  '\\u1fd6-\\u1fdb\\u1fe0-\\u1fec\\u1ff2-\\u1ff4\\u1ff6-\\u1ffc\\u2102\\u2107\\u210a-\\u2113\\u2115' +
  '\\u2119-\\u211d\\u2124\\u2126\\u2128\\u212a-\\u212d\\u212f-\\u2134\\u2139\\u213c-\\u213f' +
  '\\u2145-\\u2149\\u214e\\u2183\\u2184\\u2c00-\\u2c7b\\u2c7e-\\u2ce4\\u2ceb-\\u2cee\\u2cf2\\u2cf3' +
  '\\ua640-\\ua66d\\ua680-\\ua69b\\ua722-\\ua76f\\ua771-\\ua787\\ua78b-\\ua78e\\uab70-\\uabbf' +
  '\\ufb00-\\ufb06\\ufb13-\\ufb17\\uff21-\\uff3a\\uff41-\\uff5a\\u{10400}-\\u{1044f}' +
  '\\u{104b0}-\\u{104d3}\\u{104d8}-\\u{104fb}\\u{10c80}-\\u{10cb2}\\u{10cc0}-\\u{10cf2}' +
  '\\u{118a0}-\\u{118df}\\u{1e900}-\\u{1e943}';

export const cuts: readonly Cut[] = [
  {
    names: ['default'],
    patterns: ['[\\p{P}$+<=>\\^~\\|]+', gpt2, '\\p{N}+', '[0-9][0-9][0-9]'],
  },
  {
    names: ['gpt-2', 'phi-2', 'mpt', 'olmo', 'jais', 'trillion', 'granite-docling', 'exaone4', 'gigachat']
      .concat(['a.x-4.0', 'mellum', 'modern-bert', 'roberta-bpe'])
      .concat(['jina-es', 'jina-de', 'jina-v2-es', 'jina-v2-de', 'jina-v1-en', 'jina-v2-code']),
    patterns: [gpt2],
  },
  {
    names: ['smollm', 'starcoder', 'refact', 'command-r', 'codeshell', 'exaone', 'minerva-7b', 'mellum2'],
    patterns: ['\\p{N}', gpt2],
  },
  {
    names: ['llama-bpe', 'llama3', 'llama-v3', 'falcon3', 'falcon-h1', 'pixtral', 'midm-2.0', 'lfm2', 'jina-v5-nano'],
    patterns: [llama3],
    wholeWords: true,
    addBos: true,
  },
  { names: ['dbrx', 'smaug-bpe', 'chatglm-bpe', 'glm4'], patterns: [llama3] },
  {
    names: ['qwen2', 'deepseek-r1-qwen', 'kormo', 'f2llmv2', 'stablelm2', 'hunyuan', 'megrez', 'grok-2', 'solar-open'],
    patterns: [qwen2],
  },
  {
    names: ['qwen35'],
    patterns: [
      `${contraction}|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|${lines}|${spaces}`,
    ],
  },
  { names: ['ufakzeka'], patterns: [`${word}|\\p{N}|${signs}[\\r\\n]*|${lines}|${spaces}`] },
  { names: ['laguna'], patterns: [physicalLines, qwen2] },
  {
    names: ['seed-coder'],
    patterns: [`${contraction}|${word}|\\p{N}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|${lines}|${spaces}`],
  },
  {
    names: ['bailingmoe', 'bailingmoe2', 'llada-moe'],
    patterns: [`${contraction}|${word}|\\p{N}|${signs}[\\r\\n]*|\\s*[\\r\\n]|${spaces}`],
  },
  {
    names: ['exaone-moe'],
    patterns: [
      `${contraction}|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+|\\p{N}|${signs}[\\r\\n\\/]?|\\s*[\\r\\n]|${spaces}`,
    ],
  },
  {
    names: ['minicpm5'],
    patterns: ['\\p{N}{1,3}', `${contraction}|${word}|\\p{N}+|${signs}[\\r\\n]*|${lines}|${spaces}`],
    wholeWords: true,
  },
  {
    names: ['jais-2'],
    patterns: [
      `${contraction}|${word}|\\p{N}{1,3}|${signs}[\\r\\n]*|${lines}|${[512, 256, 128, 64, 32, 16, 8, 4].map((n) => `\\s{${n}}(?!\\S)`).join('|')}|\\s{1,2}(?!\\S)|\\s`,
    ],
  },
  {
    names: ['tekken'],
    patterns: [`${byCase('\\p{L}', '')}|\\p{N}|${signs}[\\r\\n\\/]*|${lines}|${spaces}`],
    wholeWords: true,
    addBos: true,
  },
  { names: ['gpt-4o', 'llama4', 'kanana2', 'talkie', 'minimax-m2'], patterns: [gpt4o('\\p{L}')] },
  { names: ['granite-embed-multi-97m'], patterns: [gpt4o('[\\p{L}\\p{M}]')], wholeWords: true },
  { names: ['tiny_aya', 'cohere2moe'], patterns: [threes, anyCase('\\p{N}{1,3}')] },
  {
    names: ['youtu'],
    patterns: [
      `[\\uac00-\\ud7a3\\u3131-\\u318e]+|[\\uff01\\u2026\\u201c\\u201d\\u2018\\u2019\\u2014\\uff1a\\uff1b\\uff0c\\u3001-\\u303f\\ufe30-\\ufe4f]+|[\\u3105-\\u312f]+|${kana}`,
      anyCase('\\p{N}'),
    ],
    wholeWords: true,
  },
  {
    names: ['kimi-k2'],
    patterns: [
      `${han}+|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}--${han}]+(?:${contraction})?|\\p{N}{1,3}|${signs}[\\r\\n]*|${lines}|${spaces}`,
    ],
  },
  { names: ['superbpe'], patterns: ['\\p{N}+', '(?=(?:\\d{3})+(?!\\d))'] },
  {
    names: ['deepseek-llm'],
    patterns: [
      '[\\r\\n]',
      `\\s?[${cased}]+`,
      '\\s?[!-\\/:-~\\uff01-\\uff0f\\uff1a-\\uff5e\\u2018-\\u201f\\u3001\\u3002]+',
      '\\s+$',
      cjk,
      '\\p{N}+',
    ],
  },
  { names: ['deepseek-coder'], patterns: ['[\\r\\n]', '\\s?\\p{L}+', '\\s?\\p{P}+', cjk, '\\p{N}'] },
  {
    names: ['deepseek-v3', 'hunyuan-dense', 'joyai-llm', 'hy_v4'],
    patterns: ['\\p{N}{1,3}', kana, deepseek3],
  },
  {
    names: ['spark2_5'],
    patterns: ['\\p{N}{1,3}', kana, `${deepseekWords}|[\\r\\n]|${spaces}`, '\\p{N}'],
  },
  {
    names: ['afmoe'],
    // threes of digits from the right, the first with the text before it
    patterns: ['\\P{N}*\\p{N}{1,3}(?=(?:\\p{N}{3})*(?!\\p{N}))', asianScripts, deepseek3],
  },
  { names: ['falcon'], patterns: ['[\\p{P}$+<=>\\^~\\|`]+', gpt2, '[0-9][0-9][0-9]'] },
  { names: ['poro-chat', 'bloom', 'gpt3-finnish'], patterns: [sentence] },
  { names: ['viking'], patterns: [sentence, '\\p{N}'] },
  {
    names: ['chameleon'],
    patterns: ['<sentinel:[0-9]+>', 'IMGIMG[A-I]{1,4}Z', '[\\t\\n]|    |  ', '\\p{N}', `[\\p{P}${punctuation}]`, gpt2],
    addBos: true,
  },
  { names: ['gemma4'], patterns: [physicalLines], marked: true, emptyLines: true, addBos: true },
  { names: ['granite-embed-multi-311m'], patterns: [physicalLines], marked: true, emptyLines: true, addBos: true },
  { names: ['sarvam-moe'], patterns: [physicalLines], marked: true },
];
