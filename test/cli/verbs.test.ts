/** Every verb, with every argument missing, of the wrong type, out of range, not found and in the wrong state. */
import { readFileSync } from 'node:fs';
import { Value } from 'typebox/value';
import { describe, expect, it } from 'vitest';
import { presentVerbs } from '../../src/core/cli/command-table.ts';
import * as schemas from '../../src/core/localapi/schemas.ts';
import { runVerb } from './run-verb.ts';
import { VERBS } from './verb-cases.ts';

it('covers every verb of the command table', () => {
  expect(Object.keys(VERBS).sort()).toEqual(presentVerbs().sort());
});

describe.each(Object.entries(VERBS))('%s', (verb, { good, bad: failures }) => {
  it.each(good.map((one) => [one.words.join(' '), one] as const))(
    'works: %s',
    async (_title, { words, schema, input, shows, activated = true, served = false, env = {} }) => {
      const asJson = await runVerb(verb, [...words, '--json'], { activated, served, env });
      expect(asJson.stderr).toBe('');
      expect(asJson.exitCode).toBe(0);
      expect([...Value.Errors(schema, asJson.document())]).toEqual([]);
      expect(asJson.wasClosed).toBe(true);
      if (input !== undefined) expect(asJson.calls[0]?.input).toEqual(input);
      const asText = await runVerb(verb, words, { activated, served, env });
      expect(asText.stdout).toContain(shows);
      expect(asText.stdout.endsWith('\n')).toBe(true);
    },
  );

  it.each(failures.map((one) => [one.why, one] as const))(
    'refuses %s',
    async (_title, { words, code, exitCode, activated = true }) => {
      const outcome = await runVerb(verb, [...words, '--json'], { activated });
      const { error } = outcome.document() as { error: Record<string, unknown> };
      expect([...Value.Errors(schemas.ErrorEnvelope, outcome.document())]).toEqual([]);
      expect({ code: error['code'], exitCode: outcome.exitCode }).toEqual({ code, exitCode });
      const asText = await runVerb(verb, words, { activated });
      expect(asText.stdout).toBe('');
      expect(asText.stderr).toMatch(/^error: [^\n]+\n/);
      expect(asText.stderr).not.toContain('    at ');
    },
  );
});

it.each([
  ['snapshot import', ['a.img'], 'missing flag --name', 'sgw snapshot import --help'],
  ['activate', ['--mode', 'weird'], '--mode can not be "weird"', 'Give one of: cached, shadowing.'],
  ['store check', ['--store'], '--store was given without its value', 'Give --store a value.'],
  [
    'snapshot export',
    ['v1'],
    'the argument OUT was not given, and can not be asked for here',
    'Give the argument OUT.',
  ],
  [
    'volume import',
    ['endless', '--name', 'a', '--timeout', '1ms'],
    'volume import was not done after 0.001 s',
    '--timeout',
  ],
  ['volume show', ['golden', 'a\u001b[2J'], 'unexpected argument "a\\u001b[2J"', '--help'],
  ['volume import', ['', '--name', 'a'], 'the path given as FILE is empty', 'Give a path.'],
])('%s %j: says it in the words of the house', async (verb, words, message, hint) => {
  const { stderr } = await runVerb(verb, words);
  expect(stderr).toContain(`error: ${message} [`);
  expect(stderr).toContain(hint);
});

it('answers the documented failures with the documented exit codes', () => {
  const text = readFileSync(new URL('../../docs/ERRORS.md', import.meta.url), 'utf8');
  for (const { code } of Object.values(VERBS).flatMap((verb) => verb.bad)) {
    if (!code.startsWith('system-')) expect(text).toContain(`\`${code}\``);
  }
});
