/**
 * From words to a command of oclif. Where oclif's defaults differ from the specification (an unknown
 * command exits 127, a surplus word makes a known command unknown, a topic alone prints help even for
 * `--json`), this file decides instead.
 */
import { fileURLToPath } from 'node:url';
import { SgwError } from '../kit/index.ts';
import { hasFlag, isTrue, leadingWords, wantsJson } from './argv.ts';
import { addNamesToCompletion } from './completion.ts';
import { Prompts } from './prompts.ts';
import { columnsOf, type Runtime } from './runtime.ts';
import { nearestCommand, unknownCommand } from './unknown-command.ts';

type Oclif = typeof import('@oclif/core');
type Config = InstanceType<Oclif['Config']>;

/** Runs one command line. @throws what the command throws, oclif's usage errors, and unknown or missing commands. */
export async function dispatch(argv: readonly string[], entryUrl: string, runtime: Runtime): Promise<void> {
  // oclif would look for TypeScript sources beside the built ones, and warn in development.
  process.env['NODE_ENV'] ??= 'production';
  const oclif = await import('@oclif/core');
  oclif.settings.enableAutoTranspile = false;
  const config = await oclif.Config.load(fileURLToPath(entryUrl));
  // Usage lines that name every global flag would hide what matters.
  config.pjson.oclif.helpOptions = {
    docopts: false,
    hideCommandSummaryInDescription: true,
    maxWidth: columnsOf(runtime.stdout),
  };
  const words = leadingWords(argv);
  const known = longestKnown(words, config);
  const wantsHelp = hasFlag(argv, '--help') || hasFlag(argv, '-h');
  if (known.isCommand && !wantsHelp) {
    await runCommand(known.id, argv.slice(known.length), config);
  } else if (known.length < words.length && !known.isCommand) {
    await dispatch(await meantCommand(argv, words, known.length, { config, runtime }), entryUrl, runtime);
  } else if (!wantsHelp && wantsJson(argv, runtime.env)) {
    throw missingCommand(words);
  } else {
    await oclif.run([...argv], config);
  }
}

async function runCommand(id: string, argv: string[], config: Config): Promise<void> {
  await config.runCommand(id, argv);
  if (id === 'autocomplete' || id === 'autocomplete:create') await addNamesToCompletion(config.cacheDir);
}

/** How many of the words are a topic or a command, and which. */
function longestKnown(words: readonly string[], config: Config): { length: number; id: string; isCommand: boolean } {
  for (let length = words.length; length > 0; length--) {
    const id = words.slice(0, length).join(':');
    if (config.findCommand(id) !== undefined) return { length, id, isCommand: true };
    if (config.findTopic(id) !== undefined) return { length, id, isCommand: false };
  }
  return { length: 0, id: '', isCommand: false };
}

/**
 * The command line with the nearest command in place of the unknown one, if the user, on a terminal,
 * says that it was meant. @throws invalid `unknown-command` with the nearest as a hint otherwise.
 */
async function meantCommand(
  argv: readonly string[],
  words: readonly string[],
  knownCount: number,
  { config, runtime }: { config: Config; runtime: Runtime },
): Promise<string[]> {
  const commands = config.commands
    .filter((command) => !command.hidden)
    .map((command) => command.id.replaceAll(':', ' '));
  const nearest = nearestCommand(words, [...commands, ...config.topics.map((topic) => topic.name)]);
  const failure = unknownCommand(words.slice(0, knownCount + 1).join(' '), nearest?.command);
  const mayAsk = !hasFlag(argv, '--no-input') && !isTrue(runtime.env['SGW_NO_INPUT']) && !wantsJson(argv, runtime.env);
  const prompts = new Prompts(runtime, mayAsk);
  if (nearest === undefined || !prompts.isInteractive) throw failure;
  try {
    await prompts.confirm({
      message: `"${failure.details['command'] as string}" is not a command. Did you mean "sgw ${nearest.command}"?`,
      flag: 'the command',
    });
  } catch (error) {
    throw error instanceof SgwError && error.code === 'not-confirmed' ? failure : error;
  }
  return [...nearest.command.split(' '), ...argv.slice(nearest.wordCount)];
}

function missingCommand(words: readonly string[]): SgwError {
  const message = words.length === 0 ? 'no command was given' : `no verb of "${words.join(' ')}" was given`;
  return new SgwError('invalid', 'missing-command', message, {
    hint: `Run sgw ${[...words, '--help'].join(' ')} to see what there is.`,
  });
}
