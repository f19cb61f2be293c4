"""Word lists of the drawings."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


NAMES = _words(
    """
Ann Bob Cid Dan Eva Fay Gus Hal Ian Jon Kim Lea Max Ned Oda Pam Ray Sue Tim Uma Val Wes Yan Zoe
"""
)
GOODS = _words(
    """
tea fig jam egg ham pea nut rye oat cod pie soy milk rice corn plum kiwi lime pear beet
"""
)
WORDS = _words(
    """
able acid area army baby back ball band bank base bath bear beat bell belt best bird blue boat body bone book born
both bowl bulk burn bush busy cafe call calm camp card care case cash cast cell chat chip city club coal coat code
cold come cook cool copy core cost crew crop dark data date dawn dead deal dear debt deep deny desk dial diet dirt
dish disk door dose down draw drop drug dual duke dust duty each earn ease east easy edge else even ever exit face
fact fail fair fall farm fast fate fear feed feel file fill film find fine fire firm fish five flat flow food foot
ford form fort four free fuel full fund gain game gate gave gear gift girl give glad goal goes gold golf good gray
grew grow gulf hair half hall hand hang hard harm hate have head hear heat held help here hero high hill hire hold
hole holy hope host hour huge hung hunt hurt idea inch into iron item jack join jump jury just keen keep kick kill
kind king knee know lack lady laid lake land lane last late lead left less life lift like line link list live load
loan lock logo long look lord lose loss lost love luck made main make male mark mass mate meal mean meat meet menu
mere mile mill mind mine miss mode mood moon more most move much must name navy near neck need news next nice nine
none nose note okay once only onto open oral over pace pack page paid pain pair palm park part pass past path peak
pick pink pipe plan play plot plug plus poll pool poor port post pull pure push race rail rain rank rare rate read
real rear rely rent rest ride ring rise risk road rock role roll roof room root rose rule rush safe said sale salt
same sand save seat seed seek seem sell send ship shop shot show shut sick side sign site size skin slip slow snow
soft soil sold sole some song soon sort soul spot star stay step stop such suit sure take tale talk tall tank tape
task team tech tell tend term test text than that them then they thin this time tiny told toll tone tool tour town
tree trip true tune turn twin type unit upon used user vary vast very vice view vote wage wait wake walk wall want
ward warm wash wave weak wear week well went west what when wide wife wild will wind wine wing wire wise wish wood
word work yard year zero zone cat dog sun hat cup pen box red van bus key map log win fox owl ice art act air ask
bed bit buy
"""
)
BUTTONS = _words(
    """
Save Open Edit Copy Undo Send Print Close Help Next Back Login Share Cancel Delete Search Upload Paste Start Reset
Apply Files Photos Music Maps News Mail Chat Cart Store Games Books Video Clock Notes Wallet
"""
)
