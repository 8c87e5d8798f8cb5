/**
 * Every verb over an encrypted store, as a user runs it with everything switched on that talks: no secret is in what it
 * prints, in its arguments or those of its children, or in any file that it leaves (C16).
 */
import { spawn } from 'node:child_process';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { presentVerbs } from '../../src/core/cli/command-table.ts';
import { directoryStore } from '../../src/core/objectstore/index.ts';
import { keyFileBytes, unlock, volumeKey, type Secret } from '../reader/independent-sealing.ts';
import { toolPath } from '../requirements.ts';
import { RUN } from '../soak/verb.ts';
import { writeSparse } from '../unit/transfer/rig.ts';

const MIB = 1024 * 1024;
const PASSPHRASE = 'kumquat-7f3a-lighthouse-19c2';
const WRONG = 'persimmon-0b55-breakwater-77e1';
const DAMAGED_KEY_FILE = 'sgw-key-1:tangerine-51d0-harbour-4a9b';
/** Of initiators, of a target, of who asks what targets there are, and one that is too short. */
const CHAP = ['quince-2c41-a1', 'medlar-93d0-b2', 'damson-e817-c3', 'sloe-44f'] as const;
const PARTNER = '000000000042';
/** Needs a terminal or a home of its own making; it has no store of the user's, or test/integration/service-run.test.ts runs it. */
/** Their secret is that of an access key, which the service is asked with; here nobody answers. */
const ASKING = [
  'alert set gone --not-connected 15m --webhook https://hooks.example.com/sgw',
  'alert show',
  'alert remove gone',
  'service account configure a --max-keys 3',
  'service account show',
  'service activate 0F2KD-9XQ4T-JT3RM-N1SVB-7WZ5C --yes',
  'service gateway configure lab --name other',
  'service gateway list',
  'service gateway show lab',
  'service gateway shutdown lab --yes',
  'service key create user',
  'service key list',
  'service key revoke AKIAABCDEFGHIJKLMNOP --yes',
];
const ACCESS_KEY_SECRET = 'gooseberry-4c1f-estuary-8d3b-9e7a';
const NOT_RUN = ['demo', 'gateway run', 'volume connect', 'service run'];

interface Seen {
  readonly words: string;
  readonly exitCode: number | null;
  readonly output: string;
  readonly commandLines: string;
}

let folder: string;
const seen: Seen[] = [];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sgw-secrets-'));
  for (const name of ['tmp', 'cache', 'user']) await mkdir(join(folder, name));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** The arguments of a process and of all its children; empty when it is gone. */
function commandLinesOf(pid: number): string {
  try {
    const children = readdirSync(`/proc/${pid}/task`).flatMap((task) =>
      readFileSync(`/proc/${pid}/task/${task}/children`, 'latin1').split(' ').filter(Boolean),
    );
    const own = readFileSync(`/proc/${pid}/cmdline`, 'latin1');
    return [own, ...children.map((child) => commandLinesOf(Number(child)))].join('\n');
  } catch {
    return '';
  }
}

async function sgw(words: string, secret: Readonly<Record<string, string>>, exitCode = 0): Promise<string> {
  const child = spawn(process.execPath, [RUN, ...words.split(' ')], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env['PATH'],
      HOME: join(folder, 'user'),
      TMPDIR: join(folder, 'tmp'),
      XDG_CACHE_HOME: join(folder, 'cache'),
      SGW_HOME: join(folder, 'home'),
      SGW_CONFIG_DIR: join(folder, 'config'),
      SGW_DEBUG: '1',
      DEBUG: '*',
      SGW_PROGRESS: 'plain',
      ...secret,
    },
  });
  const commandLines = new Set<string>();
  const look = setInterval(() => commandLines.add(commandLinesOf(child.pid ?? 0)), 15);
  commandLines.add(commandLinesOf(child.pid ?? 0));
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  clearInterval(look);
  const code = child.exitCode ?? (await new Promise<number | null>((done) => child.once('exit', done)));
  seen.push({ words, exitCode: code, output: `${stdout}\n${stderr}`, commandLines: [...commandLines].join('\n') });
  expect(code, `sgw ${words}\n${stdout}${stderr.slice(-2000)}`).toBe(exitCode);
  return stdout;
}

/** How 32 bytes, or a text, may show: raw, in hex and base64, as `inspect` and `JSON.stringify` print buffers. */
function disguises(secret: Buffer): Buffer[] {
  const hex = secret.toString('hex');
  const spaced = hex.match(/../g)?.slice(0, 12).join(' ') ?? '';
  const numbers = [...secret.subarray(0, 8)];
  const base64 = secret.toString('base64').replace(/=+$/, '');
  const texts = [hex, hex.toUpperCase(), spaced, base64, secret.toString('base64url')];
  return [secret, ...[...texts, numbers.join(','), numbers.join(', ')].map((shown) => Buffer.from(shown))];
}

function filesBelow(path: string): string[] {
  return readdirSync(path, { recursive: true })
    .map((name) => join(path, String(name)))
    .filter((file) => statSync(file, { throwIfNoEntry: false })?.isFile() === true);
}

async function runEveryVerb(): Promise<{ recoveryCodes: string[]; secrets: Secret[] }> {
  const inFolder = (name: string): string => join(folder, name);
  await writeSparse(inFolder('disk.img'), 4 * MIB, [{ offset: 0, length: MIB }]);
  await writeFile(inFolder('passphrase.txt'), `${PASSPHRASE}\n`, { mode: 0o600 });
  await writeFile(inFolder('damaged.key'), `${DAMAGED_KEY_FILE}\n`, { mode: 0o600 });
  const byVariable = { SGW_PASSPHRASE: PASSPHRASE };
  const byFile = { SGW_PASSPHRASE_FILE: inFolder('passphrase.txt') };
  const activation = `activate --name lab --mode cached --encrypt --store ${inFolder('store')} --json`;
  const activated = JSON.parse(await sgw(activation, byVariable)) as { recoveryCode: string };
  await sgw('status', byVariable);
  await sgw('configure', byVariable);
  await sgw('store check', byVariable);
  await sgw('volume import disk.img --name v', byVariable);
  await sgw('volume list', byFile);
  await sgw('volume show v --json', byFile);
  await sgw('snapshot create v --name s --wait', byFile);
  await sgw('volume list', { SGW_PASSPHRASE: WRONG }, 8);
  await sgw('snapshot list --json', { SGW_PASSPHRASE: WRONG }, 8);
  await sgw('volume list', { SGW_KEY_FILE: inFolder('damaged.key') }, 2);
  await sgw('volume list --no-such-flag', byVariable, 2);
  const rekeyed = JSON.parse(
    await sgw(`store rekey --new-key-file ${inFolder('new.key')} --recovery-kit --json`, byVariable),
  ) as { recoveryCode: string };
  await sgw('volume list', byVariable, 8);
  const key = { SGW_KEY_FILE: inFolder('new.key') };
  for (const words of [
    'volume resize v --size 8MiB',
    'volume rename v w',
    'volume map w',
    'volume verify w --json',
    'volume create c --from-snapshot s',
    'volume delete c --yes',
    'volume undelete c',
    'snapshot list',
    'snapshot show s',
    `snapshot list --store ${inFolder('store')}`,
    `volume show w --store ${inFolder('store')}`,
    `store copy ${inFolder('store')} ${inFolder('copy')}`,
    `store copy ${inFolder('store')} ${inFolder('copy')} --verify-only`,
    'snapshot rename s t',
    'snapshot create w --name u',
    'snapshot diff t u',
    'snapshot verify t',
    toolPath('qemu-img') === undefined ? 'snapshot export t out.img' : 'snapshot export t out.qcow2 --format qcow2',
    'snapshot restore t --image restored.img',
    'snapshot import disk.img --name x',
    `service account create partner --id ${PARTNER}`,
    'service account list',
    `snapshot share t --with ${PARTNER}`,
    `snapshot unshare t --with ${PARTNER}`,
    'snapshot delete u --yes',
    'doctor',
    'configure --cache 16MiB --cache-ram 16MiB --buffer 64MiB',
    'bandwidth set --upload 1GB/s',
    'bandwidth show',
    'bandwidth remove',
    'schedule set w --every 1m --keep 24h',
    'schedule show w',
    'group create rack --if-not-exists',
    'group add rack lab',
    'group assign rack w',
    'group list',
    'gateway start',
    'gateway show',
    'gateway reload',
    'volume attach w',
    'group show rack',
    'group failover w --to lab',
    'volume configure w --seal-interval 5s',
    'recovery-point list w',
    'gateway top --once',
    'gateway restart',
    'gateway logs',
    'group assign rack w --replicas 0',
    'volume detach w',
    'group remove rack lab',
    'group delete rack --yes',
    'configure --iscsi-listen tcp:127.0.0.1:0',
  ])
    await sgw(words, key);
  await runChap(key);
  for (const words of [
    'schedule remove w',
    'gateway stop',
    'store stats',
    'store gc --grace 0s --yes',
    'store scrub',
    'deactivate --yes',
  ])
    await sgw(words, key);
  const nowhere = '--service https://127.0.0.1:1 --access-key-id AKIAABCDEFGHIJKLMNOP';
  for (const words of ASKING) await sgw(`${words} ${nowhere}`, { SGW_SECRET_ACCESS_KEY: ACCESS_KEY_SECRET }, 5);
  const secrets: Secret[] = [{ kind: 'keyFile', bytes: keyFileBytes(await readFile(inFolder('new.key'), 'utf8')) }];
  return { recoveryCodes: [activated.recoveryCode, rekeyed.recoveryCode], secrets };
}

/** Secrets of CHAP by variable and by file, of exports and of discovery; all of them are gone when what needs them is. */
async function runChap(key: Readonly<Record<string, string>>): Promise<void> {
  const [initiator, target, discovery, short] = CHAP;
  const file = join(folder, 'chap.txt');
  await writeFile(file, `${target}\n`, { mode: 0o600 });
  const chap = { ...key, SGW_CHAP_SECRET: initiator, SGW_CHAP_TARGET_SECRET: initiator };
  const attach = 'volume attach w --protocol nbd,iscsi --chap host';
  await sgw(attach, { ...key, SGW_CHAP_SECRET: short }, 2);
  await sgw(`${attach} --chap-target sgw`, chap, 2);
  await sgw(`${attach} --chap-target sgw --chap-target-secret-file ${file} --json`, chap);
  await sgw('configure --iscsi-discovery-chap finder', { ...key, SGW_CHAP_SECRET: discovery });
  const kept = await readFile(join(folder, 'home', 'chap.json'), 'utf8');
  for (const secret of [initiator, target, discovery]) expect(kept).toContain(secret);
  for (const words of ['volume show w --json', 'status', 'gateway show --json', 'configure', 'gateway restart'])
    await sgw(words, key);
  await sgw('volume detach w', key);
  await sgw('configure --iscsi-discovery-chap default', key);
}

/** Every secret of the run, and its key, by name. */
async function secretsOf(codes: readonly string[], secrets: readonly Secret[]): Promise<[string, Buffer][]> {
  const objects = directoryStore({ path: join(folder, 'store') });
  const get = async (key: string): Promise<Buffer | undefined> => (await objects.get(key))?.bytes;
  const found: [string, Buffer][] = [
    ['the passphrase', Buffer.from(PASSPHRASE)],
    ['a wrong passphrase', Buffer.from(WRONG)],
    ['what is in a damaged key file', Buffer.from(DAMAGED_KEY_FILE.slice(10))],
    ...CHAP.map((secret): [string, Buffer] => ['a secret of CHAP', Buffer.from(secret)]),
    ['the secret of an access key', Buffer.from(ACCESS_KEY_SECRET)],
    ...codes.map((code): [string, Buffer] => ['a recovery code', Buffer.from(code)]),
  ];
  for (const secret of secrets) {
    const keys = await unlock(get, secret);
    if (secret.kind !== 'passphrase') found.push([`the ${secret.kind}'s key`, secret.bytes]);
    found.push(['the account key', keys.accountKey]);
    for await (const volumeId of objects.listFolders('volumes/'))
      found.push([`the data key of ${volumeId}`, await volumeKey(get, keys, volumeId)]);
  }
  return found;
}

it('C16 keys, passphrases and recovery codes are in no output, no argument and no file that any verb leaves', async () => {
  const { recoveryCodes, secrets } = await runEveryVerb();
  const isAsking = (words: string): boolean => ASKING.some((asking) => words.startsWith(asking));
  const ran = (verb: string): boolean =>
    seen.some(({ words, exitCode }) => (exitCode === 0 || isAsking(words)) && `${words} `.startsWith(`${verb} `));
  expect(presentVerbs().filter((verb) => !ran(verb))).toEqual(NOT_RUN);
  const all = await secretsOf(recoveryCodes, secrets);
  expect(all.length).toBeGreaterThan(8);

  const given = ['passphrase.txt', 'damaged.key', 'new.key', 'chap.txt'].map((name) => join(folder, name));
  const files = filesBelow(folder).filter((file) => !given.includes(file));
  expect(files.filter((file) => file.endsWith('state.json'))).not.toEqual([]);
  const shown: string[] = [];
  for (const [what, secret] of all) {
    const forms = disguises(secret);
    const holds = (bytes: Buffer): boolean => forms.some((form) => bytes.includes(form));
    for (const { words, output, commandLines } of seen) {
      // The two documents that give a recovery code, once.
      const isGiven = what === 'a recovery code' && /^(?:activate|store rekey)/.test(words);
      if (holds(Buffer.from(output)) && !isGiven) shown.push(`${what} in the output of sgw ${words}`);
      if (holds(Buffer.from(commandLines, 'latin1'))) shown.push(`${what} in the arguments of sgw ${words}`);
    }
    for (const file of files) if (holds(readFileSync(file))) shown.push(`${what} in ${file.slice(folder.length)}`);
  }
  expect(shown).toEqual([]);
  // The search would have found them: the files that were given do hold them.
  for (const file of given)
    expect(
      all.some(([, secret]) => disguises(secret).some((form) => readFileSync(file).includes(form))),
      file,
    ).toBe(true);
  expect(seen.every(({ commandLines }) => commandLines.includes('run.js'))).toBe(true);
}, 300_000);
