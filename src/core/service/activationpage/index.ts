/** The page on which a customer claims a gateway: a front end of the customers' listener. */
export { activationPage } from './front-end.ts';
