/** The manifest holds the verbs of the command table that exist, and nothing else; each is fit to be read and used. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { Config, type Command } from '@oclif/core';
import { beforeAll, describe, expect, it } from 'vitest';
import { COMMAND_TABLE, presentVerbs } from '../../src/core/cli/command-table.ts';
import { globalFlags } from '../../src/core/cli/flags.ts';
import { requireThat } from '../requirements.ts';
import { commandClass, ROOT } from './run-verb.ts';

interface ManifestFlag {
  readonly type: string;
  readonly env?: string;
  readonly description?: string;
}

interface ManifestCommand {
  readonly id: string;
  readonly summary?: string;
  readonly description?: string;
  readonly examples?: readonly string[];
  readonly flags: Readonly<Record<string, ManifestFlag>>;
  readonly args: Readonly<Record<string, { description?: string; ignoreStdin?: boolean }>>;
}

const file = path.join(ROOT, 'oclif.manifest.json');
const manifest = requireThat(existsSync(file), 'there is no manifest: run npm run build');
let commands: Record<string, ManifestCommand | undefined> = {};

/** A class that declares no flags or arguments has none, whatever its type says. */
const flagsIn = (found: Command.Class): Command.Class['flags'] => (found as Partial<Command.Class>).flags ?? {};
const argsIn = (found: Command.Class): Command.Class['args'] => (found as Partial<Command.Class>).args ?? {};

beforeAll(() => {
  if (manifest.met)
    ({ commands } = JSON.parse(readFileSync(file, 'utf8')) as { commands: Record<string, ManifestCommand> });
});

manifest.it('the manifest holds every verb that the table says exists, and none else', () => {
  const ids = Object.keys(commands).map((id) => id.replaceAll(':', ' '));
  expect(ids.sort()).toEqual(presentVerbs().sort());
});

manifest.it('the manifest is that of the sources', async () => {
  for (const verb of presentVerbs()) {
    const found = await commandClass(verb);
    const kept = commands[verb.replaceAll(' ', ':')];
    expect({
      verb,
      summary: kept?.summary,
      flags: Object.keys(kept?.flags ?? {}).sort(),
      args: Object.keys(kept?.args ?? {}),
    }).toEqual({
      verb,
      summary: found.summary,
      flags: Object.keys({ ...globalFlags, ...flagsIn(found) }).sort(),
      args: Object.keys(argsIn(found)),
    });
  }
});

it('the table is the one of the specification', () => {
  const topics = new Set(Object.keys(COMMAND_TABLE).map((verb) => (verb.includes(' ') ? verb.split(' ')[0] : '(top)')));
  expect([...topics].sort()).toEqual(
    [
      '(top)',
      'alert',
      'bandwidth',
      'gateway',
      'group',
      'recovery-point',
      'schedule',
      'service',
      'snapshot',
      'store',
      'volume',
    ].sort(),
  );
  expect(Object.keys(COMMAND_TABLE)).toHaveLength(78);
});

describe.each(presentVerbs())('%s', (verb) => {
  it('has a summary, a description and examples of itself', async () => {
    const found = await commandClass(verb);
    expect(found.summary).toMatch(/^[A-Z].*\.$/);
    expect(found.description).toMatch(/^[A-Z].*\.$/s);
    const examples = found.examples as readonly string[];
    expect(examples.length).toBeGreaterThan(0);
    for (const example of examples) expect(example).toMatch(/^<%= config\.bin %> <%= command\.id %>/);
  });

  it('describes every argument, which never comes from standard input', async () => {
    for (const [name, argument] of Object.entries((await commandClass(verb)).args)) {
      expect(argument.description, name).toMatch(/\.$/);
      expect(argument.ignoreStdin, name).toBe(true);
    }
  });

  it('describes every flag and gives it a variable of its own', async () => {
    const flags = flagsIn(await commandClass(verb));
    const prefix = `SGW_${verb.toUpperCase().replaceAll(/[ -]/g, '_')}_`;
    for (const [name, flag] of Object.entries(flags)) {
      expect(flag.description, name).toMatch(/[.\]]$/);
      expect(flag.env).toBe(`${prefix}${name.toUpperCase().replaceAll('-', '_')}`);
    }
  });

  it('completes the arguments that name volumes, snapshots or groups, and no others', async () => {
    const found = await commandClass(verb);
    const volume = verb === 'volume undelete' ? 'deleted volume' : 'volume';
    const kinds: Record<string, string> = {
      volume,
      snapshot: 'snapshot',
      group: 'group',
      from: 'snapshot',
      to: 'snapshot',
    };
    const expected = Object.keys(found.args).map((name) => kinds[name] ?? null);
    const listed = COMMAND_TABLE[verb]?.names ?? [];
    expect(expected.map((_, at) => listed[at] ?? null)).toEqual(expected);
    for (const flag of Object.keys(COMMAND_TABLE[verb]?.flagNames ?? {}))
      expect(Object.keys(found.flags)).toContain(flag);
  });
});

it('global flags have variables', () => {
  for (const [name, flag] of Object.entries(globalFlags)) {
    expect(flag.env).toBe(`SGW_${name.toUpperCase().replaceAll('-', '_')}`);
    expect(flag.description).toMatch(/[.\]]$/);
  }
});

it('verbs that create, remove and last take the flags of their kind', async () => {
  const flagsOf = async (verb: string): Promise<string[]> => Object.keys(flagsIn(await commandClass(verb)));
  for (const verb of ['volume create', 'volume import', 'snapshot create', 'snapshot import']) {
    expect(await flagsOf(verb)).toEqual(expect.arrayContaining(['if-not-exists', 'client-token', 'tag']));
  }
  expect(await flagsOf('service account create')).toEqual(expect.arrayContaining(['if-not-exists', 'client-token']));
  for (const verb of ['volume delete', 'snapshot delete'])
    expect(await flagsOf(verb)).toEqual(expect.arrayContaining(['if-exists', 'yes', 'dry-run']));
  for (const verb of [
    'volume import',
    'snapshot export',
    'snapshot restore',
    'snapshot import',
    'volume verify',
    'snapshot verify',
    'snapshot create',
    'store gc',
    'store scrub',
  ]) {
    expect(await flagsOf(verb)).toContain('timeout');
  }
});

it('topics are described', async () => {
  const config = await Config.load(ROOT);
  const names = ['volume', 'snapshot', 'store', 'service', 'service:account'];
  const topics = config.topics.filter((topic) => names.includes(topic.name));
  expect(topics.map((topic) => topic.description).every((description) => (description ?? '').endsWith('.'))).toBe(true);
  expect(topics).toHaveLength(names.length);
});
