/** TCP addresses as text: `HOST:PORT`, IPv6 addresses in brackets. */
import type { ListenAddress } from './listening.ts';

type TcpAddress = Extract<ListenAddress, { kind: 'tcp' }>;

export const tcpPlace = ({ host, port }: Pick<TcpAddress, 'host' | 'port'>): string =>
  `${host.includes(':') ? `[${host}]` : host}:${String(port)}`;

/** Of a text that is one. */
export function tcpAddress(place: string): TcpAddress {
  const at = place.lastIndexOf(':');
  const host = place.slice(0, at).replace(/^\[(.*)\]$/, '$1');
  return { kind: 'tcp', host, port: Number(place.slice(at + 1)) };
}
