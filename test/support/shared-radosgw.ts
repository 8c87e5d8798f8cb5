/**
 * One RADOS gateway for all files of a test run, started when the first of them asks for it, and ended after the last. The
 * test runner calls the default export before the tests, in its own process; a file asks it over a socket, by
 * `sharedRadosgw`. Who shares it keeps to prefixes, or buckets, of its own.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { Radosgw, S3_ENVIRONMENT } from './radosgw.ts';

/** Names the socket that tells the port of the gateway; the processes that run tests inherit it. */
const SOCKET = 'SGW_TEST_RADOSGW';
/** Longer than any test run. */
const LIFE_S = 3600;

export default async function setup(): Promise<() => Promise<void>> {
  const folder = await mkdtemp(join(tmpdir(), 'sgw-shared-'));
  const socket = join(folder, 'socket');
  let started: Promise<Radosgw> | undefined;
  const server = createServer((_, response) => {
    started ??= Radosgw.start({ lifeS: LIFE_S });
    started.then(
      ({ port }) => response.end(String(port)),
      (error: unknown) => response.writeHead(500).end(String(error)),
    );
  });
  await new Promise<void>((resolve) => {
    server.listen(socket, resolve);
  });
  process.env[SOCKET] = socket;
  return async () => {
    server.close();
    await (await started?.catch(() => undefined))?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  };
}

/** The gateway that all files share; its credentials are in the environment afterwards. */
export async function sharedRadosgw(): Promise<Radosgw> {
  Object.assign(process.env, S3_ENVIRONMENT);
  const [status, body] = await new Promise<[number | undefined, string]>((resolve, reject) => {
    const asking = request({ socketPath: process.env[SOCKET] }, (response) => {
      text(response).then((all) => {
        resolve([response.statusCode, all]);
      }, reject);
    });
    asking.on('error', reject);
    asking.end();
  });
  if (status !== 200) throw new Error(body);
  return Radosgw.at(Number(body));
}
