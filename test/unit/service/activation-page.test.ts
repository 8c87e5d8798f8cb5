/** The service's page for claiming a gateway, over real TLS, as a browser asks it. */
import { request } from 'node:https';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { activationPage } from '../../../src/core/service/activationpage/index.ts';
import { NetworkDevice } from '../../support/device.ts';
import { LiveService } from '../../support/live-service.ts';

let live: LiveService;
let anna: Awaited<ReturnType<LiveService['account']>>;
beforeAll(async () => {
  live = await LiveService.start({
    frontEnds: ({ service, messages, serviceKey, log }) => [
      activationPage({ context: service.context, keys: service.keys, messages, region: 'lab-1', log, serviceKey }),
    ],
  });
  anna = await live.account('anna');
});
afterAll(async () => {
  await live[Symbol.asyncDispose]();
});

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly html: string;
}

async function browse(method: string, path: string, form?: Record<string, string>): Promise<Answer> {
  const body = form === undefined ? undefined : new URLSearchParams(form).toString();
  return await new Promise<Answer>((resolve, reject) => {
    const sent = request(
      `${live.url}${path}`,
      {
        method,
        ca: live.service.authority.certificate,
        headers: body === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' },
        agent: false,
      },
      (response) => {
        let html = '';
        response.setEncoding('utf8');
        response.on('data', (part: string) => (html += part));
        response.on('end', () => {
          resolve({ status: response.statusCode ?? 0, headers: response.headers, html });
        });
      },
    );
    sent.once('error', reject);
    sent.end(body);
  });
}

const look = (activationKey: string, change: Record<string, string> = {}): Record<string, string> => ({
  step: 'look',
  activationKey,
  accessKeyId: anna.accessKey.accessKeyId,
  secretAccessKey: anna.accessKey.secretAccessKey,
  name: '',
  mode: 'cached',
  ...change,
});
const hidden = (html: string, name: string): string =>
  new RegExp(`name="${name}" value="([^"]*)"`).exec(html)?.[1] ?? '';
const claimOf = ({ html }: Answer, change: Record<string, string> = {}): Record<string, string> => ({
  step: 'claim',
  confirmation: hidden(html, 'confirmation'),
  name: hidden(html, 'name'),
  mode: hidden(html, 'mode'),
  confirm: 'yes',
  ...change,
});

describe('the page for claiming a gateway', () => {
  it('shows what the device told of itself, and claims it once that is confirmed', async () => {
    const device = new NetworkDevice(live);
    const key = await device.show({ name: 'lab', mode: 'shadowing', rack: '<b>7</b>&' });
    const form = await browse('GET', `/activate?activationKey=${key}&gatewayType=STORED`);
    expect(form.status).toBe(200);
    expect(hidden(form.html, 'activationKey')).toBe(key);
    expect(form.html).toContain('<option value="shadowing" selected>');
    expect((await browse('GET', '/activate')).html).toContain('<option value="" selected>');
    const shown = await browse('POST', '/activate', look(key, { mode: '' }));
    expect(shown.status).toBe(200);
    expect(shown.html).toContain('&lt;b&gt;7&lt;/b&gt;&amp;');
    expect(shown.html).not.toContain('<b>7</b>');
    expect(shown.html).toContain(anna.accountId);
    expect(shown.html).not.toContain(anna.accessKey.secretAccessKey);
    expect(await device.ask('activation.collect', {})).toMatchObject({ state: 'waiting' });
    const claimed = await browse('POST', '/activate', claimOf(shown));
    expect(claimed.status).toBe(200);
    expect(await device.ask('activation.collect', {})).toMatchObject({
      state: 'claimed',
      gatewayName: 'lab',
      mode: 'shadowing',
      accountId: anna.accountId,
      region: 'lab-1',
    });
    const again = await browse('POST', '/activate', claimOf(shown));
    expect(again).toMatchObject({ status: 409, html: expect.stringContaining('activation-key-used') as string });
  });

  it('runs no script, is kept by no cache and shown in no frame, and posts to itself alone', async () => {
    for (const { headers, html } of [await browse('GET', '/activate'), await browse('POST', '/activate', {})]) {
      expect(headers['cache-control']).toBe('no-store');
      expect(headers['set-cookie']).toBeUndefined();
      expect(headers['x-frame-options']).toBe('DENY');
      const policy = String(headers['content-security-policy']);
      for (const rule of ["default-src 'none'", "form-action 'self'", "frame-ancestors 'none'"])
        expect(policy).toContain(rule);
      expect(policy).not.toContain('unsafe');
      expect(html).not.toMatch(/<script|\son\w+\s*=/);
    }
  });

  it('refuses a wrong secret and an unknown key in the same words, and shows nothing of the device', async () => {
    const key = await new NetworkDevice(live).show();
    const wrong = await browse('POST', '/activate', look(key, { secretAccessKey: 'x'.repeat(40) }));
    const unknown = await browse('POST', '/activate', look(key, { accessKeyId: 'AKIAAAAAAAAAAAAAAAAA' }));
    const message = (answer: Answer): string => /<p class="no".*<\/p>/.exec(answer.html)?.[0] ?? '';
    expect([wrong.status, unknown.status]).toEqual([403, 403]);
    expect(message(wrong)).not.toBe('');
    expect(message(wrong)).toBe(message(unknown));
    expect(wrong.html).not.toContain('fingerprint');
    expect(wrong.html).not.toContain('xxxx');
  });

  it('takes a confirmation for what was shown, and for nothing else', async () => {
    const device = new NetworkDevice(live);
    const shown = await browse('POST', '/activate', look(await device.show()));
    const refused = { status: 403, html: expect.stringContaining('confirmation-wrong') as string };
    const { confirmation = '' } = claimOf(shown);
    const [text = '', mac = ''] = confirmation.split('.');
    const content = JSON.parse(Buffer.from(text, 'base64url').toString('utf8')) as Record<string, unknown>;
    const bert = await live.account('bert');
    const changes = [{ accountId: bert.accountId }, { activationKey: '0' }, { expiresAtMs: 9e15 }, { described: '' }];
    for (const change of changes) {
      const forged = Buffer.from(JSON.stringify({ ...content, ...change })).toString('base64url');
      expect(await browse('POST', '/activate', claimOf(shown, { confirmation: `${forged}.${mac}` }))).toMatchObject(
        refused,
      );
    }
    for (const none of ['', '.', confirmation.slice(0, -4), `${confirmation}.x`.slice(0, 20)])
      expect(await browse('POST', '/activate', claimOf(shown, { confirmation: none }))).toMatchObject(refused);
    // The device says something else since, under another key: what was confirmed is void.
    await device.show({ name: 'other' });
    expect((await browse('POST', '/activate', claimOf(shown))).status).toBe(404);
    expect(await device.ask('activation.collect', {})).toMatchObject({ state: 'waiting' });
  });

  it('claims nothing that was not confirmed, or by a key that was revoked meanwhile', async () => {
    const device = new NetworkDevice(live);
    const carl = await live.account('carl');
    const { accessKeyId, secretAccessKey } = carl.accessKey;
    const shown = await browse('POST', '/activate', look(await device.show(), { accessKeyId, secretAccessKey }));
    expect(await browse('POST', '/activate', claimOf(shown, { confirm: 'no' }))).toMatchObject({
      status: 400,
      html: expect.stringContaining('not-confirmed') as string,
    });
    await live.service.keys.revoke(accessKeyId, new AbortController().signal);
    expect((await browse('POST', '/activate', claimOf(shown))).status).toBe(403);
    expect(await device.ask('activation.collect', {})).toMatchObject({ state: 'waiting' });
  });

  it('gives back what was typed as text, whatever it was', async () => {
    const nasty = `"><script>alert(1)</script>`;
    const { html } = await browse('GET', `/activate?activationKey=${encodeURIComponent(nasty)}`);
    expect(html).not.toContain('<script>');
    expect(html).toContain('&quot;&gt;&lt;script&gt;');
    const posted = await browse(
      'POST',
      '/activate',
      look(nasty, { accessKeyId: nasty, name: nasty, secretAccessKey: nasty }),
    );
    expect(posted.html).not.toContain('<script>');
  });

  it('reads no form that is too long, and no other content', async () => {
    const long = await browse('POST', '/activate', look('x'.repeat(20_000)));
    expect(long.status).toBe(413);
    expect((await browse('PUT', '/activate', {})).status).toBe(404);
  });
});
