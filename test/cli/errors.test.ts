/** docs/ERRORS.md lists every kind with its exit code, and every code that the sources throw. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { ERROR_KINDS, type ErrorKind } from '../../src/core/kit/index.ts';
import { ROOT } from './run-verb.ts';

const document = readFileSync(path.join(ROOT, 'docs', 'ERRORS.md'), 'utf8');
const rows = document
  .split('\n')
  .filter((line) => line.startsWith('|'))
  .map((line) => line.split('|').map((cell) => cell.trim().replaceAll('`', '')));

/** Codes made from parts at run time, which no literal shows. */
const COMPOSED = ['volume-not-found', 'snapshot-not-found', 'volume-exists', 'snapshot-exists', 'system-*'];

function sources(): string[] {
  const folder = path.join(ROOT, 'src');
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
  return files.map((file) => readFileSync(path.join(folder, file), 'utf8'));
}

it('names every kind with its exit code', () => {
  const documented = new Map(rows.filter((cells) => cells.length === 5).map(([, kind, exitCode]) => [kind, exitCode]));
  for (const kind of Object.keys(ERROR_KINDS) as ErrorKind[]) {
    expect(documented.get(kind), kind).toBe(String(ERROR_KINDS[kind].exitCode));
  }
});

it('names every code that is thrown', () => {
  const thrown = new Map<string, string>();
  for (const text of sources()) {
    for (const [, kind = '', code = ''] of text.matchAll(/new SgwError\(\s*'(\w+)',\s*'([a-z0-9-]+)'/g))
      thrown.set(code, kind);
    for (const [, code = ''] of text.matchAll(/\b(?:invalid|usage)\(\s*'([a-z0-9-]+)',/g)) thrown.set(code, 'invalid');
  }
  const documented = new Set(rows.map(([, code]) => code));
  const missing = [...thrown].filter(([code]) => !documented.has(code));
  const skeleton = missing.map(
    ([code, kind]) => `| \`${code}\` | \`${kind}\` | ${String(ERROR_KINDS[kind as ErrorKind].exitCode)} |  |`,
  );
  expect(skeleton, 'add these rows, with a meaning, to docs/ERRORS.md').toEqual([]);
});

it('names no code that nothing throws', () => {
  const all = sources().join('\n');
  const codes = rows
    .filter((cells) => cells.length === 6 && cells[1] !== 'code' && !/^-+$/.test(cells[1] ?? ''))
    .map(([, code = '']) => code);
  expect(codes.length).toBeGreaterThan(50);
  expect(codes.filter((code) => !COMPOSED.includes(code) && !all.includes(`'${code}'`))).toEqual([]);
});
