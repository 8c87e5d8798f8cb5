/** Places as flags and documents name them. */
import { quoted, SgwError } from '../kit/index.ts';
import type { ListenAddress } from '../sockets/index.ts';

/** `unix:PATH`, `tcp:HOST:PORT` or `HOST:PORT`; an IPv6 address in brackets. @throws invalid `bad-place` */
export function parsePlace(text: string): ListenAddress {
  const path = /^unix:(.+)$/.exec(text)?.[1];
  if (path !== undefined) return { kind: 'unix', path };
  const match = /^(?:tcp:)?(?:\[([^\]\s]+)\]|([^:[\]\s/]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host !== undefined && port <= 65_535) return { kind: 'tcp', host, port };
  throw new SgwError('invalid', 'bad-place', `${quoted(text)} is no place of an NBD server`, {
    hint: 'Give unix:PATH, or HOST:PORT such as 10.0.0.7:10809 or [fd00::7]:10809.',
    details: { value: text },
  });
}
