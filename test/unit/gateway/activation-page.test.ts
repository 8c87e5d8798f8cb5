/** The page that a device shows on its own network while it waits to be claimed (S5). */
import { request } from 'node:http';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openPage, type Page } from '../../../src/core/gateway/network/page.ts';
import { LiveService } from '../../support/live-service.ts';
import { beginInput, claim } from './network-rig.ts';
import { GatewayRig } from './rig.ts';

const FACTS = {
  serviceUrl: 'https://sgw.example:8443',
  activationKey: '0F2KD-9XQ4T-JT3RM-N1SVB-7WZ5C',
  expiresAt: '2026-01-01T00:30:00.000Z',
  keyFingerprint: 'ab'.repeat(32),
  metadata: { name: 'lab', note: '<script>&"' },
};

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

const browse = async (url: string, path: string, method = 'GET', headers = {}): Promise<Answer> =>
  await new Promise<Answer>((resolve, reject) => {
    const sent = request(new URL(path, url), { method, headers, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (part: string) => (text += part));
      response.on('end', () => {
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text });
      });
    });
    sent.once('error', reject);
    sent.end();
  });

describe('the local page', () => {
  let page: Page;
  beforeAll(async () => {
    page = await openPage('127.0.0.1:0', FACTS);
  });
  afterAll(async () => {
    await page[Symbol.asyncDispose]();
  });

  it('redirects to the service with the key, and the type of gateway that was asked for', async () => {
    const { status, headers } = await browse(page.url, '/?activationRegion=lab-1&gatewayType=STORED');
    expect(status).toBe(302);
    expect(headers['location']).toBe(
      `https://sgw.example:8443/activate?activationKey=${FACTS.activationKey}&gatewayType=STORED`,
    );
    const plain = await browse(page.url, '/?activationRegion=lab-1');
    expect(plain.headers['location']).toBe(`https://sgw.example:8443/activate?activationKey=${FACTS.activationKey}`);
    for (const type of ['%0d%0aset-cookie:x', 'a&b=c%26d'.repeat(20), '%3Cb%3E'])
      expect((await browse(page.url, `/?activationRegion=x&gatewayType=${type}`)).headers['location']).not.toMatch(
        /cookie|%3C|</,
      );
  });

  it('prints the key with no_redirect, and nothing else', async () => {
    const { status, text, headers } = await browse(page.url, '/?activationRegion=lab-1&no_redirect');
    expect([status, text]).toEqual([200, FACTS.activationKey]);
    expect(headers['content-type']).toContain('text/plain');
  });

  it('shows people the key, its fingerprint and what the device tells of itself, as text', async () => {
    const { text, headers } = await browse(page.url, '/');
    expect(headers['content-type']).toContain('text/html');
    for (const part of [FACTS.activationKey, FACTS.keyFingerprint, FACTS.expiresAt, '&lt;script&gt;&amp;&quot;'])
      expect(text).toContain(part);
    expect(text).not.toContain('<script');
  });

  it('answers GET alone, of this one path, whatever the host is called', async () => {
    for (const method of ['POST', 'PUT', 'DELETE', 'HEAD', 'OPTIONS', 'TRACE'])
      expect((await browse(page.url, '/', method)).status, method).toBe(404);
    expect((await browse(page.url, '/../etc/passwd')).status).toBe(404);
    const other = await browse(page.url, '/?activationRegion=x', 'GET', { host: 'evil.example' });
    expect(other.headers['location']).toContain('https://sgw.example:8443/');
  });

  it('is kept by no cache and shown in no frame', async () => {
    for (const path of ['/', '/?activationRegion=x', '/?activationRegion=x&no_redirect', '/nothing']) {
      const { headers } = await browse(page.url, path);
      expect(headers['cache-control']).toBe('no-store');
      expect(headers['x-frame-options']).toBe('DENY');
      expect(String(headers['content-security-policy'])).toContain("frame-ancestors 'none'");
      expect(headers['referrer-policy']).toBe('no-referrer');
    }
  });

  it('is bounded: connections beyond some are closed, and it ends though one of them stays', async () => {
    const own = await openPage('127.0.0.1:0', FACTS);
    const { hostname, port } = new URL(own.url);
    const sockets = Array.from({ length: 40 }, () => connect({ host: hostname, port: Number(port) }));
    const closed = await new Promise<number>((resolve) => {
      let count = 0;
      for (const socket of sockets) {
        socket.on('error', () => undefined);
        socket.once('close', () => {
          if (++count === 8) resolve(count);
        });
      }
    });
    expect(closed).toBe(8);
    await own[Symbol.asyncDispose]();
    for (const socket of sockets) socket.destroy();
  });

  it('refuses an address that is none, and one that is taken', async () => {
    for (const at of ['', '80', '127.0.0.1', '127.0.0.1:x', '127.0.0.1:70000', '::1:80', 'a b:80:90'])
      await expect(openPage(at, FACTS)).rejects.toMatchObject({ code: 'bad-page-address' });
    const { host } = new URL(page.url);
    await expect(openPage(host, FACTS)).rejects.toMatchObject({ code: 'page-address-used' });
  });
});

describe('the page of a device that waits', () => {
  it('is there until the device is claimed, and not afterwards', async () => {
    await using live = await LiveService.start();
    const account = await live.account('anna');
    await using rig = await GatewayRig.fresh(live.objects);
    const { activationKey } = await rig.call('activation.begin', beginInput(live));
    let found: (url: string) => void = () => undefined;
    const shown = new Promise<string>((resolve) => (found = resolve));
    const onProgress = ({ label }: { label: string }): void => {
      const url = /page: (\S+)/.exec(label)?.[1];
      if (url !== undefined) found(url);
    };
    const waiting = rig.call('activation.await', { page: '127.0.0.1:0' }, { onProgress });
    const url = await shown;
    const { headers } = await browse(url, '/?activationRegion=x');
    expect(headers['location']).toBe(`${live.url}/activate?activationKey=${activationKey ?? ''}`);
    await claim(live, activationKey ?? '', account);
    expect(await waiting).toMatchObject({ state: 'claimed' });
    await expect(browse(url, '/')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });
});
