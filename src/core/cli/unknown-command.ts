/** What is said to a command line that names no command: the nearest one, or the topic's help. */
import { SgwError } from '../kit/index.ts';

/** A suggestion further away than this, in edits, would puzzle. */
const DISTANCE_MAX = 4;

/** The command, written with blanks, that is nearest to what was typed; undefined when none is near. */
export function nearestCommand(typed: string, commands: readonly string[]): string | undefined {
  let nearest: string | undefined;
  let shortest = Math.min(DISTANCE_MAX, Math.ceil(typed.length / 2)) + 1;
  for (const command of commands) {
    const distance = editDistance(typed, command);
    if (distance < shortest) [nearest, shortest] = [command, distance];
  }
  return nearest;
}

/** The failure for `typed`, with the nearest command as a hint. */
export function unknownCommand(typed: string, commands: readonly string[]): SgwError {
  const nearest = nearestCommand(typed, commands);
  return new SgwError('invalid', 'unknown-command', `"${typed}" is not a command of sgw`, {
    hint: nearest === undefined ? 'Run sgw --help to see all commands.' : `Did you mean "sgw ${nearest}"?`,
    details: { command: typed, suggestion: nearest ?? null },
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
