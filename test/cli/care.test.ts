/** An encrypted store and a damaged one at the command line: what is asked, what is kept quiet, what is shown. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DAMAGE, PASSPHRASE, RECOVERY_CODE } from './fake-care.ts';
import { runVerb } from './run-verb.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'sgw-care-'));
  writeFileSync(path.join(folder, 'passphrase'), `${PASSPHRASE}\n`, { mode: 0o600 });
  writeFileSync(path.join(folder, 'wrong'), 'not the passphrase\n', { mode: 0o600 });
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

const at = (name: string): string => path.join(folder, name);
const codeOf = (document: Record<string, unknown>): unknown => (document['error'] as Record<string, unknown>)['code'];

describe('C16 an encrypted store', () => {
  it('opens with what a file or a variable holds', async () => {
    const fromFile = await runVerb('volume list', ['--passphrase-file', at('passphrase')], { encrypted: true });
    expect(fromFile.stdout).toContain('golden');
    const env = { SGW_PASSPHRASE: PASSPHRASE };
    expect((await runVerb('volume list', [], { encrypted: true, env })).stdout).toContain('golden');
  });

  it('stays shut without a secret, and the error says how to give one', async () => {
    const outcome = await runVerb('volume list', [], { encrypted: true });
    expect(outcome.exitCode).toBe(2);
    expect(outcome.stderr).toContain('[key-missing]');
    expect(outcome.stderr).toContain('--key-file FILE or --passphrase-file FILE, set the variable SGW_PASSPHRASE');
  });

  it('is what a home is activated over by who names a secret, though not --encrypt; a variable alone asks for nothing', async () => {
    for (const [words, env, encrypt] of [
      [['--passphrase-file', at('passphrase')], {}, true],
      [[], { SGW_PASSPHRASE_FILE: at('passphrase') }, undefined],
    ] as const) {
      const outcome = await runVerb('activate', [...words], { activated: false, env });
      expect(outcome.exitCode).toBe(0);
      expect(outcome.calls.map(({ input }) => (input as { encrypt?: boolean }).encrypt)).toEqual([encrypt]);
    }
  });

  it('says of a wrong secret that it is wrong, and not what it was', async () => {
    const outcome = await runVerb('volume list', ['--passphrase-file', at('wrong'), '--json'], { encrypted: true });
    expect({ exitCode: outcome.exitCode, code: codeOf(outcome.document()) }).toEqual({
      exitCode: 8,
      code: 'wrong-key',
    });
    expect(outcome.stdout).not.toContain('not the passphrase');
  });

  it('is the only one whose secrets are read', async () => {
    const outcome = await runVerb('volume list', ['--key-file', '/nonexistent/key']);
    expect({ exitCode: outcome.exitCode, stderr: outcome.stderr }).toEqual({ exitCode: 0, stderr: '' });
  });

  it('no secret is in what the gateway is asked with, and no flag takes one', async () => {
    const env = { SGW_PASSPHRASE: PASSPHRASE, SGW_NEW_PASSPHRASE: 'another one' };
    const outcome = await runVerb('store rekey', ['--json'], { encrypted: true, env });
    expect(outcome.exitCode).toBe(0);
    const seen = `${JSON.stringify(outcome.calls)}${outcome.stdout}${outcome.stderr}`;
    for (const secret of Object.values(env)) expect(seen).not.toContain(secret);
    const refused = await runVerb('store rekey', ['--passphrase', PASSPHRASE, '--json'], { encrypted: true });
    expect(codeOf(refused.document())).toBe('unknown-flag');
  });
});

describe('a recovery code', () => {
  const env = { SGW_PASSPHRASE: PASSPHRASE };

  it('is shown once, with what to do with it', async () => {
    const outcome = await runVerb('activate', ['--encrypt'], { activated: false, env });
    expect(outcome.stdout.split(RECOVERY_CODE)).toHaveLength(2);
    expect(outcome.stdout).toContain('keep it away from this machine');
  });

  it.each([
    ['activate', ['--encrypt'], false],
    ['store rekey', ['--recovery-kit'], true],
  ])('%s %j --recovery-file: goes to the file and nowhere else', async (verb, words, activated) => {
    for (const flags of [[], ['--json']]) {
      const file = at(`code-${verb}-${String(flags.length)}`);
      const outcome = await runVerb(verb, [...words, '--recovery-file', file, ...flags], { activated, env });
      expect(outcome.exitCode).toBe(0);
      expect(`${outcome.stdout}${outcome.stderr}`).not.toContain(RECOVERY_CODE);
      expect(readFileSync(file, 'utf8')).toBe(`${RECOVERY_CODE}\n`);
    }
  });

  it('leaves no file when nothing came of it', async () => {
    const outcome = await runVerb('activate', ['--encrypt', '--recovery-file', at('none')], { env });
    expect(outcome.exitCode).toBe(4);
    expect(existsSync(at('none'))).toBe(false);
  });
});

describe('damage', () => {
  it('that scrub finds is listed by object, with who is hurt where', async () => {
    const outcome = await runVerb('store scrub', [], { damaged: true });
    expect({ exitCode: outcome.exitCode, stdout: outcome.stdout }).toEqual({ exitCode: 7, stdout: '' });
    expect(outcome.stderr.split('\n')).toEqual([
      'error: 4 objects of the store are damaged [damage-found]',
      '  volumes/vol-00000000000000001/log/00000001: frame 3 fails its checksum',
      '    hurts volume golden (vol-00000000000000001): 12 KiB in 2 extents: 8 KiB at 4096, 4 KiB at 1048576',
      '    hurts snapshot v1 (snap-aaaaaaaaaaaaaaaa2): 8 KiB at 4096',
      '  volumes/vol-00000000000000004/head.json: it is missing',
      '    hurts volume other (vol-00000000000000004): all of it',
      '  sgw.json: it is\uFFFDolder',
      '    hurts the store as a whole',
      '  volumes/vol-00000000000000009/log/00000001: fails its checksum',
      '    hurts nothing that is in use',
      'note: One entry is older than it was.',
      'hint:  Put intact copies of the objects back.',
      '',
    ]);
  });

  it('is whole in the details with --json', async () => {
    const outcome = await runVerb('store scrub', ['--json'], { damaged: true });
    expect(outcome.exitCode).toBe(7);
    expect(outcome.document()).toMatchObject({ error: { code: 'damage-found', details: { damage: DAMAGE } } });
  });

  it('that a verification finds is told by extent', async () => {
    const outcome = await runVerb('volume verify', ['golden'], { damaged: true });
    expect(outcome.exitCode).toBe(7);
    expect(outcome.stderr.split('\n').slice(1, 3)).toEqual([
      '  volumes/vol-00000000000000001/log/00000001 is damaged: frame 3 fails its checksum',
      '    can not be read: 8 KiB at 4096',
    ]);
  });
});

describe('a restore over an image', () => {
  it('takes no snapshot of what is there when it is told so', async () => {
    const words = ['v1', '--image', at('no-image'), '--force', '--no-snapshot', '--yes', '--json'];
    const outcome = await runVerb('snapshot restore', words);
    expect(outcome.calls.map(({ input }) => (input as { snapshotFirst?: boolean }).snapshotFirst)).toEqual([false]);
    expect(outcome.document()).toMatchObject({ state: 'completed', previous: null });
  });
});
