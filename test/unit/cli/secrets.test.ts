import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseKeyFile } from '../../../src/core/blockstore/sealing/secret-text.ts';
import { discoverySecret, iscsiWishes } from '../../../src/core/cli/iscsi-flags.ts';
import { keepRecoveryCode, makeKeyFile, readSecretFile } from '../../../src/core/cli/secret-files.ts';
import { firstSecret, newSecret, unlockingSecrets, type SecretSurroundings } from '../../../src/core/cli/secrets.ts';
import { SgwError } from '../../../src/core/kit/index.ts';

let folder = '';
let said: string[] = [];
const say = async (text: string): Promise<void> => {
  said.push(text);
  return Promise.resolve();
};
const at = (name: string): string => path.join(folder, name);

beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'sgw-secrets-'));
  said = [];
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

const write = (name: string, text: string, mode = 0o600): string => {
  writeFileSync(at(name), text, { mode });
  return at(name);
};

/** Answers questions in turn, as a person at a terminal would, who is asked again when an answer can't be used. */
function surroundings(env: Record<string, string>, answers?: string[]): SecretSurroundings & { asked: string[] } {
  const asked: string[] = [];
  return {
    asked,
    env,
    say,
    prompts: {
      isInteractive: answers !== undefined,
      secret: async ({ message, check }) => {
        for (;;) {
          asked.push(message);
          const answer = answers?.shift();
          if (answer === undefined) throw new SgwError('aborted', 'interrupted', 'no more answers');
          try {
            await check?.(answer);
            return answer;
          } catch (error) {
            asked.push((error as SgwError).code);
          }
        }
      },
    },
  };
}

describe('what opens a store', () => {
  it('is the contents of a file without the line feed at its end, or a variable', async () => {
    const [key, pass, code] = [write('k', 'sgw-key-1:x\n'), write('p', ' a b \r\n'), write('r', 'ABCD\n')];
    const unlock = async (files: object, env = {}): Promise<unknown> =>
      unlockingSecrets(files, surroundings(env)).unlock();
    expect(await unlock({ keyFile: key })).toEqual({ keyFile: 'sgw-key-1:x' });
    expect(await unlock({ passphraseFile: pass })).toEqual({ passphrase: ' a b ' });
    expect(await unlock({ recoveryCodeFile: code })).toEqual({ recoveryCode: 'ABCD' });
    expect(await unlock({}, { SGW_PASSPHRASE: 'p' })).toEqual({ passphrase: 'p' });
    expect(await unlock({ keyFile: key }, { SGW_KEY_FILE: key })).toEqual({ keyFile: 'sgw-key-1:x' });
  });

  it('is what a flag names before what variables hold', async () => {
    const env = { SGW_PASSPHRASE: 'p', SGW_KEY_FILE: '/nonexistent/k' };
    const files = { keyFile: '/nonexistent/k', recoveryCodeFile: write('r', 'ABCD') };
    expect(await unlockingSecrets(files, surroundings(env)).unlock()).toEqual({ recoveryCode: 'ABCD' });
  });

  it.each([
    [{ keyFile: 'k', passphraseFile: 'p' }, {}, '--key-file and --passphrase-file'],
    [{}, { SGW_KEY_FILE: 'k', SGW_PASSPHRASE: 'p' }, 'SGW_KEY_FILE and SGW_PASSPHRASE'],
  ])('is not guessed: %j %j', async (files, env, names) => {
    const failure = unlockingSecrets(files, surroundings(env)).unlock();
    await expect(failure).rejects.toMatchObject({ code: 'one-of', kind: 'invalid' });
    await expect(failure).rejects.toThrow(names);
  });

  it('is missing where nobody can be asked, and the error names every way', async () => {
    const failure = unlockingSecrets({}, surroundings({ SGW_PASSPHRASE: '' })).unlock();
    await expect(failure).rejects.toMatchObject({ code: 'key-missing', kind: 'invalid' });
    const { hint } = (await failure.catch((error: unknown) => error)) as SgwError;
    for (const way of ['--key-file', '--passphrase-file', 'SGW_PASSPHRASE', 'terminal']) expect(hint).toContain(way);
  });

  it('is asked for once, however often it is needed', async () => {
    const around = surroundings({}, ['first', 'second']);
    const secrets = unlockingSecrets({}, around);
    const all = await Promise.all([secrets.unlock(), secrets.unlock(), secrets.unlock()]);
    expect(all).toEqual([{ passphrase: 'first' }, { passphrase: 'first' }, { passphrase: 'first' }]);
    expect(around.asked).toEqual(['Passphrase of the store:']);
  });
});

describe('a new secret', () => {
  it('is asked for twice, and again while it is short; both are asked for again when they differ', async () => {
    const around = surroundings({}, ['short', 'long enuogh', 'long enough', 'long enough', 'long enough']);
    expect(await firstSecret({}, around)()).toEqual({ passphrase: 'long enough' });
    expect(around.asked).toEqual([
      'New passphrase:',
      'bad-passphrase',
      'New passphrase:',
      'The same again:',
      'New passphrase:',
      'The same again:',
    ]);
    expect(said.join()).toContain('differ');
  });

  it('that is short is refused from a file and a variable too, and not repeated in the error', async () => {
    const fromFile = firstSecret({ passphraseFile: write('p', 'tiny77') }, surroundings({}));
    await expect(fromFile()).rejects.toMatchObject({ code: 'bad-passphrase' });
    const failure = await newSecret({}, surroundings({ SGW_NEW_PASSPHRASE: 'tiny77' }), false)?.().catch(
      (error: unknown) => error,
    );
    expect(failure).toMatchObject({ code: 'bad-passphrase' });
    expect(JSON.stringify((failure as SgwError).toDocument())).not.toContain('tiny77');
  });

  it('is not taken from what opens the store now', async () => {
    const renew = newSecret({}, surroundings({ SGW_PASSPHRASE: 'the one of now' }), false);
    await expect(renew?.()).rejects.toMatchObject({ code: 'key-missing' });
  });

  it('is none when the present one may stay', () => {
    expect(newSecret({}, surroundings({}), true)).toBeUndefined();
    expect(newSecret({ keyFile: 'k' }, surroundings({}), true)).toBeDefined();
  });

  it('in a key file that is not there is made, for its owner alone, and opens the store later', async () => {
    const made = await firstSecret({ keyFile: at('new.key') }, surroundings({}))();
    expect(statSync(at('new.key')).mode & 0o777).toBe(0o600);
    expect(made).toEqual({ keyFile: readFileSync(at('new.key'), 'utf8').trimEnd() });
    expect(parseKeyFile((made as { keyFile: string }).keyFile)).toMatchObject({ kind: 'keyFile' });
    expect(said.join()).toContain('Keep a copy');
    await makeKeyFile(at('new.key'), say);
    expect(await firstSecret({ keyFile: at('new.key') }, surroundings({}))()).toEqual(made);
  });
});

describe('a file of a secret', () => {
  it('that others can read is remarked upon', async () => {
    await readSecretFile(write('open', 'secret', 0o644), say);
    expect(said).toEqual([expect.stringContaining(`chmod 600 ${at('open')}`)]);
    expect(said.join()).not.toContain(': secret');
    said = [];
    await readSecretFile(write('closed', 'secret'), say);
    expect(said).toEqual([]);
  });

  it.each([
    ['empty', '\n'],
    ['large', 'x'.repeat(5000)],
  ])('that is %s is refused without its contents', async (name, text) => {
    const failure = await readSecretFile(write(name, text), say).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'bad-secret-file', kind: 'invalid' });
    expect(JSON.stringify((failure as SgwError).toDocument())).not.toContain('xxxxxxxx');
  });
});

describe('a recovery code', () => {
  const withCode = async (): Promise<{ recoveryCode: string | null }> => Promise.resolve({ recoveryCode: 'ABCD' });

  it('goes into its file instead of the result', async () => {
    expect(await keepRecoveryCode(at('code'), say, withCode)).toEqual({
      result: { recoveryCode: null },
      codeFile: at('code'),
    });
    expect(readFileSync(at('code'), 'utf8')).toBe('ABCD\n');
    expect(statSync(at('code')).mode & 0o777).toBe(0o600);
  });

  it('stays in the result without a file', async () => {
    expect(await keepRecoveryCode(undefined, say, withCode)).toEqual({
      result: { recoveryCode: 'ABCD' },
      codeFile: null,
    });
  });

  it('never replaces a file, and then nothing is begun', async () => {
    write('code', 'older');
    let begun = false;
    const kept = keepRecoveryCode(at('code'), say, async () => {
      begun = true;
      return withCode();
    });
    await expect(kept).rejects.toMatchObject({ code: 'file-exists', kind: 'conflict' });
    expect(begun).toBe(false);
    expect(readFileSync(at('code'), 'utf8')).toBe('older');
  });

  it('that there is not leaves no file, nor does a failure', async () => {
    await keepRecoveryCode(at('code'), say, async () => Promise.resolve({ recoveryCode: null }));
    const failing = keepRecoveryCode(at('code'), say, async () => Promise.reject(new Error('no')));
    await expect(failing).rejects.toThrow('no');
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe('a secret of CHAP', () => {
  type Flags = Parameters<typeof iscsiWishes>[0];
  const CHAP = { protocol: ['iscsi'], chap: 'host' } satisfies Partial<Flags>;
  const flags = (more: Partial<Flags>): Flags => ({ ...CHAP, ...more }) as Flags;
  const SHORT = 'eleven-byte';
  const GOOD = 'twelve-bytes';
  const LONG = 'seventeen-bytes-a';

  it('is asked for twice, and again while it is short; both are asked for again when they differ', async () => {
    const around = surroundings({}, [SHORT, GOOD, `${GOOD}x`, GOOD, GOOD]);
    const { iscsi } = await iscsiWishes(flags({}), around);
    expect(iscsi).toEqual({ chap: { user: 'host', secret: GOOD } });
    expect(around.asked).toEqual([
      'Secret of CHAP user host:',
      'bad-chap-secret',
      'Secret of CHAP user host:',
      'The same again:',
      'Secret of CHAP user host:',
      'The same again:',
    ]);
    expect(said).toEqual(['The secrets differ. Type both again, or press Ctrl-C.']);
  });

  it('is the contents of a file, or else a variable; one for each direction', async () => {
    const file = write('chap', `${GOOD}\n`);
    const env = { SGW_CHAP_SECRET: 'of the variable', SGW_CHAP_TARGET_SECRET: 'of the target' };
    const both = flags({ 'chap-secret-file': file, 'chap-target': 'sgw' });
    expect((await iscsiWishes(both, surroundings(env))).iscsi).toEqual({
      chap: { user: 'host', secret: GOOD },
      chapTarget: { user: 'sgw', secret: 'of the target' },
    });
    expect(await discoverySecret('finder', undefined, surroundings(env))).toEqual({
      iscsiDiscoverySecret: 'of the variable',
    });
    expect(await discoverySecret(null, undefined, surroundings(env))).toEqual({});
    const same = { ...env, SGW_CHAP_TARGET_SECRET: GOOD };
    await expect(iscsiWishes(both, surroundings(same))).rejects.toMatchObject({ code: 'bad-chap-secret' });
  });

  it('that is short is refused, and not repeated in the error; one that Windows refuses is told of', async () => {
    const failure = await iscsiWishes(flags({}), surroundings({ SGW_CHAP_SECRET: SHORT })).catch(
      (error: unknown) => error,
    );
    expect(failure).toMatchObject({ code: 'bad-chap-secret' });
    expect(JSON.stringify((failure as SgwError).toDocument())).not.toContain(SHORT);
    await iscsiWishes(flags({}), surroundings({ SGW_CHAP_SECRET: LONG }));
    expect(said.join()).toContain('Windows takes no such secret');
    expect(said.join()).not.toContain(LONG);
  });
});
