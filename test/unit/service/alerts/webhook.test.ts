import { createHmac } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../../src/core/kit/index.ts';
import { isPublicAddress } from '../../../../src/core/service/alerts/addresses.ts';
import { callWebhook, checkWebhookUrl, type WebhookParts } from '../../../../src/core/service/alerts/webhook.ts';
import { Receiver } from './receiver.ts';

let receiver: Receiver;
let parts: WebhookParts;
const signal = new AbortController().signal;

beforeAll(async () => {
  receiver = await Receiver.start();
});
afterAll(async () => {
  await receiver[Symbol.asyncDispose]();
});
beforeEach(() => {
  receiver.received.length = 0;
  receiver.answer = (response) => {
    response.writeHead(204).end();
  };
  parts = { clock: systemClock, version: '1.2.3', allowPrivate: true, ca: receiver.ca };
});

const call = async (url = receiver.url, change: Partial<WebhookParts> = {}): Promise<void> => {
  await callWebhook({ ...parts, ...change }, { url, secret: 'a secret of sorts', body: '{"a":1}' }, signal);
};

describe('a webhook', () => {
  it('gets the body as JSON, with the time and a signature over both', async () => {
    await call();
    const [seen] = receiver.received;
    expect(seen?.text).toBe('{"a":1}');
    expect(seen?.headers).toMatchObject({ 'content-type': 'application/json', 'user-agent': 'sgw/1.2.3' });
    const header = String(seen?.headers['x-sgw-signature']);
    const [, at = '', code] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(header) ?? [];
    expect(Math.abs(Number(at) - Date.now() / 1000)).toBeLessThan(60);
    expect(code).toBe(createHmac('sha256', 'a secret of sorts').update(`${at}.{"a":1}`).digest('hex'));
  });

  it.each([400, 404, 500, 503])('that answers %i did not take it', async (status) => {
    receiver.answer = (response) => {
      response.writeHead(status).end('no');
    };
    await expect(call()).rejects.toMatchObject({
      code: 'webhook-failed',
      message: expect.stringContaining(String(status)) as string,
    });
  });

  it('that redirects did not take it, and is not followed', async () => {
    receiver.answer = (response) => {
      response.writeHead(307, { location: receiver.url }).end();
    };
    await expect(call()).rejects.toMatchObject({ code: 'webhook-failed' });
    expect(receiver.received).toHaveLength(1);
  });

  it('that never answers is given up at the deadline', async () => {
    receiver.answer = () => undefined;
    await expect(call(receiver.url, { deadlineMs: 100 })).rejects.toMatchObject({
      kind: 'timeout',
      code: 'webhook-timed-out',
    });
  });

  it('that answers without end is cut off, and counts by its status', async () => {
    let isCut = false;
    receiver.answer = (response) => {
      response.writeHead(200);
      const write = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(16_384)));
        if (!response.destroyed) response.once('drain', write);
      };
      response.on('error', () => undefined);
      response.on('close', () => (isCut = true));
      write();
    };
    await call();
    await expect.poll(() => isCut).toBe(true);
  });

  it('whose certificate is of nobody that is trusted is not called', async () => {
    const { ca: _, ...others } = parts;
    await expect(callWebhook(others, { url: receiver.url, secret: 'x', body: '{}' }, signal)).rejects.toMatchObject({
      code: 'webhook-failed',
    });
    expect(receiver.received).toHaveLength(0);
  });

  it('is reached by a name that leads to an address that may be', async () => {
    const url = `https://hooks.example:${String(receiver.port)}/x?y=1`;
    await call(url, {
      resolve: (_host, done) => {
        done(null, [{ address: '127.0.0.1', family: 4 }]);
      },
    });
    expect(receiver.received[0]?.headers.host).toBe(`hooks.example:${String(receiver.port)}`);
  });
});

describe('the network of the service is not asked', () => {
  const closed = { allowPrivate: false };

  it.each([
    'https://127.0.0.1/',
    'https://[::1]/',
    'https://169.254.169.254/latest/meta-data/',
    'https://10.0.0.1/',
    'https://192.168.1.1/',
    'https://[::ffff:127.0.0.1]/',
    'https://[64:ff9b::7f00:1]/',
    'https://[fd00::1]/',
    'https://[fe80::1]/',
    'https://0.0.0.0/',
    'https://2130706433/',
    'https://0x7f.1/',
    'https://100.64.0.1/',
    'https://[2002:7f00:1::]/',
    'https://[::127.0.0.1]/',
  ])('by %s', (url) => {
    expect(() => checkWebhookUrl(url, closed)).toThrow(expect.objectContaining({ code: 'bad-webhook' }) as Error);
  });

  it('by a name that leads there, nor by one that leads there as well', async () => {
    const url = `https://hooks.example:${String(receiver.port)}/`;
    const answers = [
      [{ address: '127.0.0.1', family: 4 }],
      [
        { address: '93.184.216.34', family: 4 },
        { address: '127.0.0.1', family: 4 },
      ],
      [{ address: '::ffff:127.0.0.1', family: 6 }],
    ];
    for (const addresses of answers) {
      const refused = call(url, {
        ...closed,
        resolve: (_host, done) => {
          done(null, addresses);
        },
      });
      await expect(refused).rejects.toMatchObject({ kind: 'denied', code: 'webhook-address-refused' });
      await expect(refused).rejects.not.toHaveProperty('message', expect.stringContaining('127.0.0.1'));
    }
    expect(receiver.received).toHaveLength(0);
  });

  it('by a name that leads elsewhere when it is looked up again: what was checked is connected to', async () => {
    let lookUps = 0;
    const resolve: NonNullable<WebhookParts['resolve']> = (_host, done) => {
      lookUps += 1;
      done(null, [{ address: lookUps === 1 ? '127.0.0.1' : '192.0.2.1', family: 4 }]);
    };
    await call(`https://hooks.example:${String(receiver.port)}/`, { resolve });
    expect(lookUps).toBe(1);
    expect(receiver.received).toHaveLength(1);
  });

  it('by a URL that was taken when that was allowed', async () => {
    await expect(call(receiver.url, closed)).rejects.toMatchObject({ code: 'bad-webhook' });
  });

  it.each(['93.184.216.34', '8.8.8.8', '2606:2800:220:1:248:1893:25c8:1946'])(
    'but %s is of the internet',
    (address) => {
      expect(isPublicAddress(address)).toBe(true);
    },
  );

  it.each([
    '2001:db8::1',
    '2001::1',
    '2002::1',
    '::',
    '::1',
    'ff02::1',
    '198.18.0.1',
    '224.0.0.1',
    '255.255.255.255',
    'fe80::1%eth0',
    'x',
    '',
  ])('%s is not', (address) => {
    expect(isPublicAddress(address)).toBe(false);
  });
});

it.each([
  'http://example.com/',
  'https://user:pass@example.com/',
  'https://user@example.com/',
  'https://example.com/#x',
  'ftp://x/',
  'x',
  '',
  7,
  `https://example.com/${'a'.repeat(2050)}`,
])('the URL %s is not usable', (url) => {
  expect(() => checkWebhookUrl(url, { allowPrivate: true })).toThrow(
    expect.objectContaining({ kind: 'invalid' }) as Error,
  );
});
