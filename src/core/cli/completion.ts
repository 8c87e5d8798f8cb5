/**
 * Completion of the names of volumes and snapshots. The commands and flags are completed by
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
import { defaultHome } from './session.ts';

/** The hidden first argument by which the shell's functions ask. */
export const COMPLETE_VERB = '__complete';
const LOCK_TIMEOUT_MS = 0;
const MARK = '# names of volumes and snapshots';

/** What the last of `words` names, by the command table: words are all after `sgw`, the last being typed. */
export function kindOfWord(words: readonly string[]): NameKind | undefined {
  const [topic = '', verb = '', ...rest] = words;
  const row = COMMAND_TABLE[`${topic} ${verb}`];
  const typed = rest.at(-1);
  if (row === undefined || typed === undefined || typed.startsWith('-')) return undefined;
  let position = 0;
  for (let at = 0; at < rest.length - 1; at++) {
    const word = rest[at] ?? '';
    const isLastBefore = at === rest.length - 2;
    if (!word.startsWith('-')) position++;
    else if (isLastBefore && row.flagNames?.[word.slice(2)] !== undefined) return row.flagNames[word.slice(2)];
    else if (GLOBAL_VALUES.has(word)) at++;
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
  return kind === 'volume' ? await volumeNames(api, runtime.interrupt) : await snapshotNames(api, runtime.interrupt);
}

async function volumeNames(api: LocalApi, signal: AbortSignal): Promise<string[]> {
  const { volumes } = await api.call('volume.list', {}, contextOf(signal));
  return volumes.map((volume) => volume.name);
}

async function snapshotNames(api: LocalApi, signal: AbortSignal): Promise<string[]> {
  const { snapshots } = await api.call('snapshot.list', {}, contextOf(signal));
  return snapshots.map((snapshot) => snapshot.name);
}

const contextOf = (signal: AbortSignal): Parameters<LocalApi['call']>[2] => ({
  signal,
  onProgress: () => undefined,
  lockTimeoutMs: LOCK_TIMEOUT_MS,
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
  if [[ \${COMP_WORDS[1]} == volume || \${COMP_WORDS[1]} == snapshot ]] && (( COMP_CWORD > 2 )); then
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
  if [[ $words[2] == (volume|snapshot) ]] && (( CURRENT > 3 )); then
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
