import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { globalFlagsLast, leadingWords, wantsJson } from '../../../src/core/cli/argv.ts';
import { kindOfWord } from '../../../src/core/cli/completion.ts';
import { describeFailure, failureText } from '../../../src/core/cli/failure.ts';
import { preferencesFolder, readPreferences, writePreferences } from '../../../src/core/cli/preferences.ts';
import { styleFor } from '../../../src/core/cli/style.ts';
import { renderFields, renderTable, shortIds } from '../../../src/core/cli/tables.ts';
import { nearestCommand } from '../../../src/core/cli/unknown-command.ts';
import { SgwError } from '../../../src/core/kit/index.ts';

const plain = styleFor(process.stdout, false);

it('global flags before the command move behind it, but not behind --', () => {
  expect(globalFlagsLast(['--json', '--home', '/x', 'volume', 'show', 'a'])).toEqual([
    'volume',
    'show',
    'a',
    '--json',
    '--home',
    '/x',
  ]);
  expect(globalFlagsLast(['--home=/x', 'volume', 'show', '--', '-a'])).toEqual([
    'volume',
    'show',
    '--home=/x',
    '--',
    '-a',
  ]);
  expect(globalFlagsLast(['volume', 'list', '--json'])).toEqual(['volume', 'list', '--json']);
  expect(globalFlagsLast(['--home'])).toEqual(['--home']);
});

it('JSON is asked for by flag, variable or preference, and not behind --', () => {
  const env = { SGW_CONFIG_DIR: '/nonexistent' };
  expect(wantsJson(['status', '--json'], env)).toBe(true);
  expect(wantsJson(['status', '--', '--json'], env)).toBe(false);
  expect(wantsJson(['status'], { ...env, SGW_JSON: 'true' })).toBe(true);
  expect(wantsJson(['status', '--no-json'], { ...env, SGW_JSON: '1' })).toBe(false);
});

it('leading words end at the first flag', () => {
  expect(leadingWords(['volume', 'list', '--json', 'x'])).toEqual(['volume', 'list']);
});

describe('what a word names', () => {
  it.each([
    [['volume', 'show', ''], 'volume'],
    [['volume', 'show', '--home', '/x', ''], 'volume'],
    [['volume', 'show', '--json', 'g'], 'volume'],
    [['volume', 'show', 'golden', ''], undefined],
    [['volume', 'rename', 'golden', ''], undefined],
    [['volume', 'import', 'x', '--into', 'g'], 'volume'],
    [['volume', 'create', 'x', '--from-snapshot', ''], 'snapshot'],
    [['snapshot', 'create', ''], 'volume'],
    [['snapshot', 'diff', 'v1', ''], 'snapshot'],
    [['snapshot', 'export', 'v1', ''], undefined],
    [['volume', 'show', '-'], undefined],
    [['volume', 'undelete', ''], 'deleted volume'],
    [['volume', 'list', '--account', ''], 'account'],
    [['status', '--account', '0'], 'account'],
    [['snapshot', 'share', 'v1', '--with', ''], 'account'],
    [['snapshot', 'share', '--with', '000000000002', ''], 'snapshot'],
    [['volume', 'show', '--key-file', 'k', ''], 'volume'],
    [['volume', 'import', 'x', '--into', 'golden', ''], undefined],
    [['store', 'gc', ''], undefined],
    [['volume', 'nope', ''], undefined],
    [[], undefined],
  ])('%j is %s', (words, kind) => {
    expect(kindOfWord(words)).toBe(kind);
  });
});

describe('the nearest command', () => {
  const commands = ['volume list', 'volume show', 'snapshot list', 'status', 'volume', 'snapshot'];
  it.each([
    [['volume', 'lst'], 'volume list', 2],
    [['volum', 'list'], 'volume list', 2],
    [['statsu', 'x'], 'status', 1],
    [['snapshots'], 'snapshot', 1],
  ])('to %j is %s', (words, command, wordCount) => {
    expect(nearestCommand(words, commands)).toEqual({ command, wordCount });
  });

  it('is none when nothing is near', () => {
    expect(nearestCommand(['xyzzy'], commands)).toBeUndefined();
    expect(nearestCommand([], commands)).toBeUndefined();
  });
});

describe('failures', () => {
  it("keep their own message when oclif wraps a flag's", () => {
    const error = new SgwError(
      'invalid',
      'bad-size',
      'Parsing --size \n\tsize "x" is not a size\nSee more help with --help',
      { hint: 'h' },
    );
    expect(describeFailure(error)).toMatchObject({
      message: 'size "x" is not a size',
      hint: 'h',
      details: { flag: '--size' },
    });
  });

  it('show message, code and hint, and a stack only for bugs that are debugged', () => {
    const text = failureText(
      new SgwError('notFound', 'volume-not-found', 'volume "x" does not exist', { hint: 'Look.' }),
      plain,
      true,
    );
    expect(text).toBe('error: volume "x" does not exist [volume-not-found]\nhint:  Look.\n');
    expect(failureText(describeFailure(new TypeError('oops')), plain, false)).not.toContain('    at ');
    expect(failureText(describeFailure(new TypeError('oops')), plain, true)).toContain('command-line.test');
  });

  it('are bugs when nothing else is known of them', () => {
    expect(describeFailure('text')).toMatchObject({ kind: 'internal', code: 'internal', message: 'text' });
  });
});

describe('preferences', () => {
  it('are none without a file, and a damaged file is named', () => {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'sgw-preferences-'));
    const env = { SGW_CONFIG_DIR: folder };
    expect(readPreferences(env)).toEqual({});
    writeFileSync(path.join(folder, 'config.json'), '{');
    expect(() => readPreferences(env)).toThrow(folder);
    rmSync(folder, { recursive: true });
  });

  it('are kept by what is written later, and unknown values are left out', async () => {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'sgw-preferences-'));
    const env = { SGW_CONFIG_DIR: folder };
    await writePreferences(env, { defaultHome: '/srv/sgw' });
    expect(await writePreferences(env, { output: 'json' })).toEqual({ defaultHome: '/srv/sgw', output: 'json' });
    expect(readPreferences(env)).toEqual({ defaultHome: '/srv/sgw', output: 'json' });
    writeFileSync(path.join(folder, 'config.json'), '{"output":"xml","defaultHome":"relative","color":"never"}');
    expect(readPreferences(env)).toEqual({ color: 'never' });
    rmSync(folder, { recursive: true });
  });

  it('lie where the platform keeps such files', () => {
    expect(preferencesFolder({ HOME: '/h' }, 'linux')).toBe('/h/.config/sgw');
    expect(preferencesFolder({ HOME: '/h', XDG_CONFIG_HOME: '/c' }, 'linux')).toBe('/c/sgw');
    expect(preferencesFolder({ HOME: '/h' }, 'darwin')).toBe('/h/Library/Preferences/sgw');
    expect(preferencesFolder({ SGW_CONFIG_DIR: '/mine' }, 'linux')).toBe('/mine');
  });
});

describe('tables', () => {
  const columns = [
    { head: 'NAME', value: (row: { name: string }) => row.name, isCut: true },
    { head: 'N', value: () => '1', align: 'right' as const },
  ];

  it('are cut to the terminal, and whole elsewhere', async () => {
    const rows = [{ name: 'x'.repeat(128) }];
    const cut = await renderTable(rows, columns, plain, 80);
    expect(Math.max(...cut.split('\n').map((line) => line.length))).toBeLessThanOrEqual(80);
    expect(cut).toContain('…');
    expect(await renderTable(rows, columns, plain, Number.POSITIVE_INFINITY)).toContain('x'.repeat(128));
  });

  it('let no text move the cursor or forge lines', async () => {
    const table = await renderTable([{ name: 'a\u001b[2J\nb' }], columns, plain, 80);
    expect(table).not.toContain('\u001b');
    expect(table.split('\n')).toHaveLength(2);
    expect(
      renderFields(
        [
          ['name', 'a\nb'],
          ['none', null],
        ],
        plain,
      ),
    ).toBe('name:  a\uFFFDb');
  });

  it('shorten ids as far as they differ', () => {
    const short = shortIds(['vol-0123456789abcdef0', 'vol-0123456799abcdef0']);
    expect(short('vol-0123456789abcdef0')).toBe('vol-012345678');
    expect(shortIds(['vol-0123456789abcdef0'])('vol-0123456789abcdef0')).toBe('vol-01234567');
  });
});
