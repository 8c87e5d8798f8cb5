/**
 * Completion of the names of volumes and snapshots, and of the ids of accounts. The commands and flags are completed by
 * @oclif/plugin-autocomplete, from files that it writes; `withNames` adds to those files a function
 * that first asks `sgw __complete WORD...`, which is answered here, before oclif loads.
 *
 * Completion never fails loudly: a home that can't be read offers no names.
 */
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { LocalApi } from '../localapi/index.ts';
import { GLOBAL_VALUES } from './argv.ts';
import { COMMAND_TABLE, type NameKind } from './command-table.ts';
import { readPreferences } from './preferences.ts';
import type { Runtime } from './runtime.ts';
import { unlockingSecrets, type SecretSurroundings } from './secrets.ts';
import { defaultHome } from './session.ts';

/** The hidden first argument by which the shell's functions ask. */
export const COMPLETE_VERB = '__complete';
const LOCK_TIMEOUT_MS = 0;
const MARK = '# names of volumes, snapshots and accounts';
const ACCOUNT_FLAG = '--account';
const NO_PROMPTS: SecretSurroundings['prompts'] = { isInteractive: false, secret: async () => Promise.resolve('') };

/** What the last of `words` names, by the command table: words are all after `sgw`, the last being typed. */
export function kindOfWord(words: readonly string[]): NameKind | undefined {
  const typed = words.at(-1);
  if (typed === undefined || typed.startsWith('-')) return undefined;
  if (words.at(-2) === ACCOUNT_FLAG) return 'account';
  const [topic = '', verb = '', ...rest] = words;
  const row = COMMAND_TABLE[`${topic} ${verb}`];
  if (row === undefined || rest.length === 0) return undefined;
  const flagNames = row.flagNames ?? {};
  let position = 0;
  for (let at = 0; at < rest.length - 1; at++) {
    const word = rest[at] ?? '';
    const kindOfFlag = flagNames[word.slice(2)];
    if (!word.startsWith('-')) position++;
    else if (kindOfFlag !== undefined && at === rest.length - 2) return kindOfFlag;
    else if (kindOfFlag !== undefined || GLOBAL_VALUES.has(word)) at++;
  }
  return row.names?.[position] ?? undefined;
}

/** Writes the names that begin like the last word, one a line. */
export async function answerCompletion(words: readonly string[], runtime: Runtime): Promise<void> {
  const kind = kindOfWord(words);
  if (kind === undefined) return;
  try {
    const typed = words.at(-1) ?? '';
    const names = await readNames(kind, homeOf(words, runtime), runtime);
    const fitting = names.filter((name) => name.startsWith(typed)).sort();
    if (fitting.length > 0) runtime.stdout.write(`${fitting.join('\n')}\n`);
  } catch {
    // A home that can't be opened has no names to offer.
  }
}

async function readNames(kind: NameKind, home: string, runtime: Runtime): Promise<string[]> {
  await using api = await runtime.openGateway({ home, lockTimeoutMs: LOCK_TIMEOUT_MS });
  return await NAMES_OF[kind](api, contextOf(runtime));
}

type Context = Parameters<LocalApi['call']>[2];

const NAMES_OF: Readonly<Record<NameKind, (api: LocalApi, context: Context) => Promise<string[]>>> = {
  volume: async (api, context) => (await api.call('volume.list', {}, context)).volumes.map(({ name }) => name),
  'deleted volume': async (api, context) =>
    (await api.call('volume.list', { deleted: true }, context)).volumes
      .filter(({ state }) => state === 'deleted')
      .map(({ name }) => name),
  snapshot: async (api, context) => (await api.call('snapshot.list', {}, context)).snapshots.map(({ name }) => name),
  group: async (api, context) => (await api.call('group.list', {}, context)).groups.map(({ name }) => name),
  account: async (api, context) =>
    (await api.call('service.account.list', {}, context)).accounts.map(({ accountId }) => accountId),
};

/** Secrets come from variables only: nobody can be asked while a word is completed. */
const contextOf = ({ env, interrupt }: Runtime): Context => ({
  signal: interrupt,
  onProgress: () => undefined,
  lockTimeoutMs: LOCK_TIMEOUT_MS,
  secrets: unlockingSecrets({}, { env, prompts: NO_PROMPTS, say: async () => Promise.resolve() }),
});

function homeOf(words: readonly string[], runtime: Runtime): string {
  const at = words.lastIndexOf('--home');
  const given = at === -1 ? undefined : words[at + 1];
  return path.resolve(
    given ?? runtime.env['SGW_HOME'] ?? readPreferences(runtime.env).defaultHome ?? defaultHome(runtime.env),
  );
}

/** Adds the names to the functions that @oclif/plugin-autocomplete has written under `cacheFolder`. */
export async function addNamesToCompletion(cacheFolder: string): Promise<void> {
  const functions = path.join(cacheFolder, 'autocomplete', 'functions');
  await rewrite(path.join(functions, 'bash', 'sgw.bash'), withNamesInBash);
  await rewrite(path.join(functions, 'zsh', '_sgw'), withNamesInZsh);
}

async function rewrite(file: string, change: (script: string) => string): Promise<void> {
  const script = await readFile(file, 'utf8').catch(() => undefined);
  if (script === undefined || script.includes(MARK)) return;
  await writeFile(file, change(script));
}

const withNamesInBash = (script: string): string => `${script}
${MARK}
_sgw_complete()
{
  COMPREPLY=()
  if [[ \${COMP_WORDS[1]} == volume || \${COMP_WORDS[1]} == snapshot || \${COMP_WORDS[1]} == group || \${COMP_WORDS[COMP_CWORD-1]} == --account ]] &&
    (( COMP_CWORD > 2 )); then
    local name
    while IFS= read -r name; do
      COMPREPLY+=( "$(printf '%q' "$name")" )
    done < <("\${COMP_WORDS[0]}" ${COMPLETE_VERB} "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  fi
  if (( \${#COMPREPLY[@]} == 0 )); then _sgw_autocomplete "$@"; fi
}
complete -o default -F _sgw_complete sgw
`;

/** The generated function becomes `_sgw_commands`; the one that zsh calls asks for names first. */
function withNamesInZsh(script: string): string {
  const renamed = script.replace(/^_sgw\(\) \{$/m, '_sgw_commands() {').replace(/\n_sgw\s*$/, '\n');
  return `${renamed}
${MARK}
_sgw() {
  if [[ $words[2] == (volume|snapshot|group) || $words[CURRENT-1] == --account ]] && (( CURRENT > 3 )); then
    local -a names
    names=("\${(@f)$($words[1] ${COMPLETE_VERB} "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
    names=(\${names:#})
    if (( \${#names} > 0 )); then
      compadd -a names
      return
    fi
  fi
  _sgw_commands "$@"
}

_sgw "$@"
`;
}
