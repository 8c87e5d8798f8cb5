/** What is said to a command line that names no command: the nearest one, or the topic's help. */
import { quoted, SgwError } from '../kit/index.ts';

/** A suggestion further away than this, in edits, would puzzle. */
const DISTANCE_MAX = 4;

/** Commands have at most this many words. */
const WORDS_MAX = 3;

/**
 * The command, written with blanks, that is nearest to the first words of what was typed, and how many
 * of the words it stands for; undefined when none is near.
 */
export function nearestCommand(
  words: readonly string[],
  commands: readonly string[],
): { command: string; wordCount: number } | undefined {
  for (let wordCount = Math.min(WORDS_MAX, words.length); wordCount > 0; wordCount--) {
    const typed = words.slice(0, wordCount).join(' ');
    const candidates = commands.filter((command) => command.split(' ').length === wordCount);
    const command = nearest(typed, candidates);
    if (command !== undefined) return { command, wordCount };
  }
  return undefined;
}

function nearest(typed: string, candidates: readonly string[]): string | undefined {
  let found: string | undefined;
  let shortest = Math.min(DISTANCE_MAX, Math.ceil(typed.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(typed, candidate);
    if (distance < shortest) [found, shortest] = [candidate, distance];
  }
  return found;
}

/** The failure for `typed`, with the nearest command as a hint. */
export function unknownCommand(typed: string, suggestion: string | undefined): SgwError {
  return new SgwError('invalid', 'unknown-command', `${quoted(typed)} is not a command of sgw`, {
    hint: suggestion === undefined ? 'Run sgw --help to see all commands.' : `Did you mean "sgw ${suggestion}"?`,
    details: { command: typed, suggestion: suggestion ?? null },
  });
}

/** Levenshtein distance: insertions, deletions and substitutions count one each. */
function editDistance(left: string, right: string): number {
  let previous = Array.from({ length: right.length + 1 }, (_, column) => column);
  for (let row = 1; row <= left.length; row++) {
    const line = [row];
    for (let column = 1; column <= right.length; column++) {
      const substituted = (previous[column - 1] ?? 0) + (left[row - 1] === right[column - 1] ? 0 : 1);
      line.push(Math.min((previous[column] ?? 0) + 1, (line[column - 1] ?? 0) + 1, substituted));
    }
    previous = line;
  }
  return previous[right.length] ?? 0;
}
