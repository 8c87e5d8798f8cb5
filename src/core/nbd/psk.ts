/** Pre-shared keys, as both ends of an NBD connection have them, and files of TLS that can not be used. */
import { SgwError } from '../kit/index.ts';

/** OpenSSL takes pre-shared keys of TLS 1.2 with these; DHE would need parameters of its own. */
export const PSK_CIPHERS =
  'ECDHE-PSK-CHACHA20-POLY1305:ECDHE-PSK-AES256-CBC-SHA384:PSK-AES256-GCM-SHA384:PSK-AES128-GCM-SHA256:PSK-CHACHA20-POLY1305';

export interface PreSharedKey {
  readonly user: string;
  readonly key: Buffer;
}

/** The lines of a file of GnuTLS's psktool that are no comments, without blanks around them. */
export const pskLines = (text: string): string[] =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));

/** Of a line `user:key in hex`; undefined when it is none. */
export function pskOf(line: string): PreSharedKey | undefined {
  const [, user, hex] = /^(.+):((?:[0-9a-fA-F]{2})+)$/.exec(line) ?? [];
  return user === undefined || hex === undefined ? undefined : { user, key: Buffer.from(hex, 'hex') };
}

export const badTls = (message: string, cause: unknown): SgwError =>
  new SgwError('invalid', 'bad-tls', message, {
    hint: 'Give PEM files of a certificate and its private key, or a file of psktool.',
    cause,
  });
