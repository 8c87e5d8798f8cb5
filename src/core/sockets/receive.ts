/**
 * Reads a socket into the same memory again and again. By itself node:net reads each piece into 64 KiB of fresh memory: page
 * faults, and work for the garbage collector, that cost more than the read.
 *
 * A socket can be told so only where it is made, so one that a server has accepted hands its handle over to another.
 */
import { Socket, type SocketConstructorOpts } from 'node:net';

/** What of an accepted socket is not in its type: the connection itself. */
interface Accepted {
  _handle?: object | null;
}

/**
 * Returns the socket to use from now on; `accepted` must not have been read from (`pauseOnConnect`). `onBytes` gets what was
 * received, which is good only until it returns. Where sockets have no handle to hand over, it is `accepted`, whose data
 * comes the same way.
 */
export function receiveInto(accepted: Socket, memory: Buffer, onBytes: (bytes: Buffer) => void): Socket {
  const { _handle: handle } = accepted as unknown as Accepted;
  if (handle === undefined || handle === null) {
    accepted.on('data', onBytes);
    return accepted;
  }
  const options = {
    handle,
    writableHighWaterMark: accepted.writableHighWaterMark,
    // Reading begins with `resume`.
    pauseOnCreate: true,
    onread: {
      buffer: memory,
      callback: (length: number, bytes: Uint8Array): boolean => {
        onBytes(Buffer.from(bytes.buffer, bytes.byteOffset, length));
        return true;
      },
    },
  };
  const socket = new Socket(options as unknown as SocketConstructorOpts);
  (accepted as unknown as Accepted)._handle = null;
  // Its server counts it until it ends.
  socket.once('close', () => accepted.destroy());
  return socket;
}
