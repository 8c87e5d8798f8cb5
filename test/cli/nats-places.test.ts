/** Where `service run` is told that NATS is. */
import { expect, it } from 'vitest';
import { natsOf, serviceRunFlags } from '../../src/core/cli/service/run.ts';

const parse = async (text: string): Promise<unknown> =>
  (serviceRunFlags.nats.parse as (input: string, context: never, options: never) => Promise<unknown>)(
    text,
    undefined as never,
    undefined as never,
  ).catch((error: unknown) => (error as { readonly code: string }).code);

it('is one server or several, by TLS or not, with a user, and never with a password', async () => {
  for (const text of ['nats://a:4222', 'tls://a', 'nats://a:4222,nats://b:4222', 'nats://user@a:4222,nats://user@b'])
    expect(await parse(text)).toBe(text);
  for (const text of ['http://a', 'nats://', 'a:4222', 'nats://a,', 'nats://u:secret@a', 'nats://a,nats://u:secret@b'])
    expect(await parse(text), text).toBe('bad-nats');
});

it('gets the password of its user from the environment, for each server that has one', () => {
  expect(natsOf('nats://user@a:4222,nats://b:4222', 'k@m/q')).toBe('nats://user:k%40m%2Fq@a:4222,nats://b:4222');
  expect(natsOf('nats://user@a:4222', undefined)).toBe('nats://user@a:4222');
});
