/**
 * Room `sockets` (level 1): what servers of wire protocols have in common: listeners, received bytes, gathered answers, and
 * the memory of both. It knows no protocol.
 */
export { Arena, BATCH_BYTES, BufferPool, type Lent, type PooledBuffer } from './buffer-pool.ts';
export { ByteQueue } from './byte-queue.ts';
export { finishSocket } from './finish.ts';
export { InFlight } from './in-flight.ts';
export { endAll, listenError, Listening, type ListenAddress } from './listening.ts';
export { Output, type BacklogLimits, type Room } from './output.ts';
export { receiveInto } from './receive.ts';
export { tcpAddress, tcpPlace } from './tcp-place.ts';
