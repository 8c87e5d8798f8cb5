import type { Socket } from 'node:net';

/** How long a client that does not read has for what was written. */
const FINISH_MS = 1000;

/** Sends what was written, for a while: a client that does not read is let go. */
export async function finishSocket(socket: Socket): Promise<void> {
  if (socket.destroyed) return;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, FINISH_MS);
    const done = (): void => {
      clearTimeout(timer);
      resolve();
    };
    socket.once('close', done);
    socket.end(done);
  });
}
