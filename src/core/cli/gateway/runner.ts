/**
 * What `gateway run` has around it: where its log goes, and, in the background, the process that started it. In the foreground
 * the log is on standard error, for people on a terminal and as JSON elsewhere.
 */
import type { Secrets } from '../../localapi/index.ts';
import { parentChannel, type ReadyGateway } from './background.ts';
import { describeFailure } from '../failure.ts';
import { logLineText, parseLogLine } from './log-lines.ts';
import { logFileOf, RotatingLog } from './log-file.ts';
import type { Output } from '../runtime.ts';
import { styleFor } from '../style.ts';

interface Sink {
  write(line: string): void;
}

export interface Surroundings {
  readonly sink: Sink;
  readonly secrets: Secrets;
  readonly onLoaded: () => void;
  readonly onReady: (ready: ReadyGateway) => void;
}

/** Runs `work` in its surroundings, and tells the process that started it how it went. */
export async function withSurroundings(
  { home, secrets }: { readonly home: string; readonly secrets: Secrets },
  isBackground: boolean,
  stderr: Output,
  work: (surroundings: Surroundings) => Promise<void>,
): Promise<void> {
  if (!isBackground) {
    const nothing = (): void => undefined;
    await work({ sink: sinkOf(stderr), secrets, onLoaded: nothing, onReady: nothing });
    return;
  }
  const parent = parentChannel();
  try {
    await work({
      sink: new RotatingLog(logFileOf(home)),
      secrets: { unlock: parent.unlock },
      onLoaded: () => {
        void parent.say({ loaded: true });
      },
      onReady: (ready) => {
        void parent.say({ ready }).then(parent.close);
      },
    });
  } catch (error) {
    await parent.say({ failed: describeFailure(error).toDocument() });
    throw error;
  } finally {
    parent.close();
  }
}

/** Where a server logs that was given a file, or none: then to standard error. */
export const serverSink = (file: string | undefined, stderr: Output): Sink =>
  file === undefined ? sinkOf(stderr) : new RotatingLog(file);

function sinkOf(stderr: Output): Sink {
  if (stderr.isTTY !== true) return { write: (line) => stderr.write(line) };
  const style = styleFor(stderr, true);
  return { write: (line) => stderr.write(`${logLineText(parseLogLine(line.trimEnd()), style)}\n`) };
}
