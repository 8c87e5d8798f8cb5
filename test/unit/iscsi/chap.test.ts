/** CHAP: challenges, answers, and what an initiator may not do. Digests are those of another program's hashes. */
import { describe, expect, it } from 'vitest';
import type { Random } from '../../../src/core/kit/index.ts';
import { seededRandom } from '../../../src/core/kit/index.ts';
import { Authentication } from '../../../src/core/iscsi/authentication.ts';
import { Chap, ChapError } from '../../../src/core/iscsi/chap.ts';
import { LoginRefused } from '../../../src/core/iscsi/login-refused.ts';
import type { ChapRules } from '../../../src/core/iscsi/targets.ts';
import { TextError, type Pair } from '../../../src/core/iscsi/text.ts';
import { chapAnswer as answerOf } from './login-builder.ts';

const SECRET = Buffer.from('correct horse bat');
const CHALLENGE = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex');
const IDENTIFIER = 0x2a;
/** Of identifier, secret and challenge. */
const DIGESTS = {
  '5': 'c77cc0ea210b56f6ec5d0c6ed3a9d929',
  '6': '713e85ab933a6860152cc8e0339590347a7d61ef',
  '7': '4c963ad74bd97b4f5ea82e5138bf98233d13724c1e2b008792a96198a9302d59',
  '8': 'fe140fbfbd21e04483b56624f113ff9dd435fcf0c2d3865e44ae278e63756482',
} as const;

const RULES: ChapRules = {
  initiators: [
    { user: 'other', secret: Buffer.from('another secret!!') },
    { user: 'host', secret: SECRET },
  ],
  target: { user: 'gateway', secret: Buffer.from('secret of target') },
};

/** The challenge of the digests above. */
const fixed: Random = {
  bytes: (count) => (count === 1 ? Buffer.of(IDENTIFIER) : Buffer.concat([CHALLENGE, Buffer.alloc(count)], count)),
  float: () => 0,
};

/** Answers as an initiator does, with what the target proves itself with. */
function prove(chap: Chap, user: string, response: Buffer): unknown {
  return chap.check({ user, response, asked: undefined });
}

describe('a challenge', () => {
  it('is by the strongest algorithm that is offered, 32 bytes long, and another each time', () => {
    const chap = new Chap(RULES, seededRandom(1));
    const offers = [['5', '6', '7', '8'], ['5', '7'], ['6', '5'], ['5'], ['99', '5']];
    const challenges = offers.map((offered) => chap.challenge(offered));
    expect(challenges.map(({ algorithm }) => algorithm)).toEqual(['8', '7', '6', '5', '5']);
    expect(challenges.every(({ challenge }) => challenge.length === 32)).toBe(true);
    expect(new Set(challenges.map(({ challenge }) => challenge.toString('hex'))).size).toBe(offers.length);
  });

  it('is not made when no algorithm is in common', () => {
    const chap = new Chap(RULES, seededRandom(1));
    expect(() => chap.challenge(['1', '9'])).toThrow(ChapError);
    expect(() => chap.challenge([])).toThrow(ChapError);
  });
});

describe('an answer', () => {
  it.each(['5', '6', '7', '8'] as const)('proves the user by algorithm %s, and the target', (number) => {
    // The target answers to the challenge of the table with the secret of the table.
    const chap = new Chap(
      { initiators: RULES.initiators, target: { user: 'gateway', secret: SECRET } },
      seededRandom(3),
    );
    const { identifier, challenge } = chap.challenge([number]);
    const own = answerOf(number, identifier, 'another secret!!', challenge);
    const proof = chap.check({
      user: 'other',
      response: own,
      asked: { identifier: IDENTIFIER, challenge: CHALLENGE },
    });
    expect(proof?.user).toBe('gateway');
    expect(proof?.response.toString('hex')).toBe(DIGESTS[number]);
  });

  it('fails in the same words for an unknown user, a wrong secret, and one of another length', () => {
    const messages = [
      ['nobody', Buffer.alloc(32)],
      ['host', Buffer.alloc(32)],
      ['host', Buffer.alloc(31)],
      ['host', Buffer.alloc(1024)],
      ['', Buffer.alloc(32)],
    ].map(([user, response]) => {
      const chap = new Chap(RULES, fixed);
      chap.challenge(['7']);
      try {
        return prove(chap, user as string, response as Buffer);
      } catch (error) {
        return error instanceof ChapError ? error.message : error;
      }
    });
    expect(messages).toEqual(messages.map(() => 'wrong user or secret'));
  });

  it('is not taken of a user with the secret that stands for nobody', () => {
    const random = seededRandom(5);
    const nobody = seededRandom(5).bytes(16);
    const chap = new Chap(RULES, random);
    const { identifier, challenge } = chap.challenge(['7']);
    const response = answerOf('7', identifier, nobody.toString('latin1'), challenge);
    expect(() => prove(chap, '', response)).toThrow(ChapError);
  });

  it('is checked once for each challenge', () => {
    const chap = new Chap(RULES, seededRandom(1));
    const { identifier, challenge } = chap.challenge(['7']);
    const response = answerOf('7', identifier, SECRET.toString(), challenge);
    expect(prove(chap, 'host', response)).toBeUndefined();
    expect(() => prove(chap, 'host', response)).toThrow(ChapError);
  });

  it('may not ask the target for an answer to its own challenge', () => {
    const chap = new Chap(RULES, seededRandom(1));
    const { identifier, challenge } = chap.challenge(['5']);
    const response = answerOf('5', identifier, SECRET.toString(), challenge);
    expect(() => chap.check({ user: 'host', response, asked: { identifier: 1, challenge } })).toThrow(
      /sent the challenge back/,
    );
  });

  it('gets no proof when both secrets are one, or the target has none', () => {
    const asked = { identifier: 1, challenge: Buffer.alloc(16) };
    for (const target of [undefined, { user: 'gateway', secret: SECRET }]) {
      const chap = new Chap({ ...RULES, target }, seededRandom(1));
      const { identifier, challenge } = chap.challenge(['5']);
      const response = answerOf('5', identifier, SECRET.toString(), challenge);
      expect(() => chap.check({ user: 'host', response, asked })).toThrow(ChapError);
    }
  });
});

describe('the security stage', () => {
  const say = (stage: Authentication, ...keys: readonly (readonly [string, string])[]): readonly Pair[] =>
    stage.answer(keys.map(([key, value]) => ({ key, value })));

  it('goes from the method over the challenge to the proof', () => {
    const stage = new Authentication(RULES, fixed);
    expect(say(stage, ['AuthMethod', 'KRB5,CHAP,None'])).toEqual([{ key: 'AuthMethod', value: 'CHAP' }]);
    expect(stage.mayLeave()).toBe(false);
    expect(say(stage, ['CHAP_A', '5,7'])).toEqual([
      { key: 'CHAP_A', value: '7' },
      { key: 'CHAP_I', value: String(IDENTIFIER) },
      { key: 'CHAP_C', value: `0x${CHALLENGE.toString('hex')}${'00'.repeat(16)}` },
    ]);
    expect(stage.mayLeave()).toBe(false);
    const challenge = Buffer.concat([CHALLENGE, Buffer.alloc(16)]);
    const response = answerOf('7', IDENTIFIER, SECRET.toString(), challenge);
    const proof = answerOf('7', 200, 'secret of target', Buffer.from('abc'));
    expect(
      say(
        stage,
        ['CHAP_N', 'host'],
        ['CHAP_R', `0b${response.toString('base64')}`],
        ['CHAP_I', '200'],
        ['CHAP_C', '0x616263'],
      ),
    ).toEqual([
      { key: 'CHAP_N', value: 'gateway' },
      { key: 'CHAP_R', value: `0x${proof.toString('hex')}` },
    ]);
    expect(stage.mayLeave()).toBe(true);
    expect(stage.user).toBe('host');
  });

  it('takes None where there are no rules, and needs no method there', () => {
    const silent = new Authentication(undefined, fixed);
    expect(silent.mayLeave()).toBe(true);
    expect(say(silent, ['AuthMethod', 'CHAP,None'])).toEqual([{ key: 'AuthMethod', value: 'None' }]);
    expect(silent.mayLeave()).toBe(true);
    expect(silent.user).toBeUndefined();
  });

  it.each([
    ['None alone where CHAP is asked for', RULES, [['AuthMethod', 'None']]],
    ['CHAP alone where nobody is known', undefined, [['AuthMethod', 'CHAP']]],
    ['methods that are not known', RULES, [['AuthMethod', 'SRP,KRB5']]],
  ] as const)('refuses %s', (_, rules, keys) => {
    const stage = new Authentication(rules, fixed);
    expect(() => say(stage, ...keys)).toThrow(LoginRefused);
  });

  it('is not left without a method where CHAP is asked for', () => {
    expect(() => new Authentication(RULES, fixed).mayLeave()).toThrow(LoginRefused);
  });

  const N = ['CHAP_N', 'host'] as const;
  const R = ['CHAP_R', '0x00'] as const;
  it.each([
    ['no CHAP_R', [N], LoginRefused],
    ['no CHAP_N', [R], LoginRefused],
    ['a CHAP_R that is no binary value', [N, ['CHAP_R', 'abc']], TextError],
    ['a CHAP_I without CHAP_C', [N, R, ['CHAP_I', '1']], LoginRefused],
    ['a CHAP_C without CHAP_I', [N, R, ['CHAP_C', '0x00']], LoginRefused],
    ['a CHAP_I of 256', [N, R, ['CHAP_I', '256'], ['CHAP_C', '0x00']], TextError],
    ['a wrong answer', [N, R], ChapError],
  ] as const)('fails with %s instead of an answer', (_, keys, error) => {
    const stage = new Authentication(RULES, fixed);
    say(stage, ['AuthMethod', 'CHAP']);
    say(stage, ['CHAP_A', '5']);
    expect(() => say(stage, ...keys)).toThrow(error);
    expect(stage.mayLeave()).toBe(false);
    expect(stage.user).toBeUndefined();
  });

  it.each([
    ['an answer before the method', [[N, R]]],
    ['AuthMethod twice', [[['AuthMethod', 'CHAP']], [['AuthMethod', 'CHAP']]]],
  ] as const)('fails with %s', (_, texts) => {
    const stage = new Authentication(RULES, fixed);
    const [last, ...before] = texts.toReversed();
    for (const keys of before.toReversed()) say(stage, ...keys);
    expect(() => say(stage, ...last!)).toThrow(TextError);
  });

  it('a CHAP key where there are no rules is an error', () => {
    expect(() => say(new Authentication(undefined, fixed), ['CHAP_A', '5'])).toThrow(TextError);
  });
});
