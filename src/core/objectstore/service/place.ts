/** Where the data endpoint of a service is: `sgw-service://HOST:PORT`, and nothing else. */
import { SgwError } from '../../kit/index.ts';

export interface ServicePlace {
  /** A name or an address; an IPv6 address without its brackets. */
  readonly host: string;
  readonly port: number;
}

const SCHEME = /^sgw-service:\/\//i;

export const isServiceUrl = (text: string): boolean => SCHEME.test(text);

/** @throws invalid `bad-store` saying what is wrong with it */
export function parseServicePlace(text: string): ServicePlace {
  // As the URL of a scheme with hosts, so that names and addresses are taken apart.
  const url = URL.parse(text.replace(SCHEME, 'https://'));
  if (url === null || !isServiceUrl(text)) throw bad('it is not a URL');
  if (url.username !== '' || url.password !== '') throw bad('it holds credentials');
  if (url.search !== '' || url.hash !== '' || (url.pathname !== '/' && url.pathname !== ''))
    throw bad('it is more than a host and a port');
  const host = url.hostname.replace(/^\[|\]$/g, '');
  // The default port of the scheme that stands in is left out by the parser.
  const port = url.port === '' ? (/:443\/?$/.test(text) ? 443 : 0) : Number(url.port);
  if (host === '' || port === 0) throw bad('it names no host and port');
  return { host, port };
}

/** Two places that are the same have the same URL. */
export function formatServicePlace({ host, port }: ServicePlace): string {
  return `sgw-service://${authorityOf({ host, port })}`;
}

/** Host and port as they stand in URLs. */
export const authorityOf = ({ host, port }: ServicePlace): string =>
  `${host.includes(':') ? `[${host}]` : host}:${String(port)}`;

function bad(what: string): SgwError {
  return new SgwError('invalid', 'bad-store', `the URL given for the store can not be used: ${what}`, {
    hint: 'Write it as sgw-service://HOST:PORT.',
  });
}
