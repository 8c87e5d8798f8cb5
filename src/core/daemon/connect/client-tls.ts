/** The files that a client's TLS is made of. */
import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import { badTls, pskLines, pskOf, type ClientTls, type PreSharedKey } from '../../nbd/client/index.ts';

/** Absolute paths. */
export interface ClientTlsFiles {
  readonly ca: string | null;
  readonly certificate: string | null;
  readonly key: string | null;
  /** `USER:HEX`, as GnuTLS's psktool writes it; the first line counts. */
  readonly psk: string | null;
  readonly serverName: string | null;
}

/** @throws invalid `bad-tls` */
export async function readClientTls(files: ClientTlsFiles): Promise<ClientTls> {
  const [ca, certificate, key, psk] = [
    await read(files.ca),
    await read(files.certificate),
    await read(files.key),
    await read(files.psk),
  ];
  try {
    createSecureContext({ ca, cert: certificate, key });
  } catch (error) {
    throw badTls('certificate, key or CA can not be used', error);
  }
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(certificate === undefined ? {} : { certificate }),
    ...(key === undefined ? {} : { key }),
    ...(psk === undefined ? {} : { psk: firstPsk(psk.toString('utf8')) }),
    ...(files.serverName === null ? {} : { serverName: files.serverName }),
  };
}

async function read(path: string | null): Promise<Buffer | undefined> {
  if (path === null) return undefined;
  try {
    return await readFile(path);
  } catch (error) {
    throw badTls(`${path} can not be read`, error);
  }
}

/** The first line counts. */
function firstPsk(text: string): PreSharedKey {
  const key = pskOf(pskLines(text)[0] ?? '');
  if (key === undefined) throw badTls('the file of pre-shared keys has no line user:hex', undefined);
  return key;
}
