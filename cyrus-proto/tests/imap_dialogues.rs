//! Dialogues: what clients say and what we answer, over a real store.

#[path = "dialogues/driver.rs"]
mod driver;

macro_rules! dialogues {
    ($($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                driver::run(stringify!($name), include_str!(concat!("dialogues/", stringify!($name), ".txt")));
            }
        )*
    };
}

dialogues!(expunge, fetch, login, search, select, sessions, store);
