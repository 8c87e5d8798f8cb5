/** Paths that the gateway opens. With --gateway they are paths of its machine, and not of this one. */
import path from 'node:path';
import { quoted, SgwError } from '../kit/index.ts';
import { currentRuntime } from './runtime.ts';

/**
 * An absolute path for the gateway: what is relative is relative to the working directory, which a gateway elsewhere has not.
 * @throws invalid `path-not-absolute` with --gateway
 */
export function gatewayPath(text: string): string {
  if (currentRuntime().isRemote !== true) return path.resolve(text);
  if (path.isAbsolute(text)) return path.normalize(text);
  throw new SgwError('invalid', 'path-not-absolute', `${quoted(text)} is relative to a directory of this machine`, {
    hint: "With --gateway it names a file on the gateway's machine: give the whole path there.",
  });
}
